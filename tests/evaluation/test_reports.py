"""Pictures and tables of a run: they show what happened, and refuse a run that shows nothing."""

from dataclasses import replace

import av
import cv2
import numpy as np
import pytest

from multismolvla.embodiment.panda import PANDA
from multismolvla.embodiment.so101 import SO101
from multismolvla.modalities.depth import DEPTH
from multismolvla.modalities.rgb import RGB
from multismolvla.modalities.segmentation import LABELS, SEGMENTATION
from multismolvla.pictures.episode_log import EpisodeLog, Sample
from multismolvla.pictures.film import write_contact_sheet, write_film
from multismolvla.pictures.sensor_panel import CAPTION, colorize, tile
from multismolvla.pictures.timeline import MASKED, write_timeline
from multismolvla.streams import Stream, StreamTable

TABLE = StreamTable(
    tuple(
        Stream(name, name.split("/")[-1], 24, 32, 15.0, "camera_optical_frame")
        for name in ("rgb", "depth", "wrist/thermal", "wrist/segmentation")
    )
)


def episode(masked: str = "", frames: int = 5) -> EpisodeLog:
    log = EpisodeLog("t", "put the red cube in the bin", 3, start_s=1.0, end_s=2.0)
    log.success_time_s = 1.0
    pictures = {
        "rgb": np.full((24, 32, 3), 200, np.uint8),
        "depth": np.full((24, 32), 0.4, np.float32),
        "wrist/thermal": np.full((24, 32), 30.0, np.float32),
        "wrist/segmentation": np.full((24, 32), 3, np.uint8),
    }
    for step in range(frames):
        time_s = 1.0 + 0.2 * step
        mask = {name: name != masked for name in TABLE.names}
        reason = {name: "stale" if name == masked else "" for name in TABLE.names}
        joints = np.full(6, 0.1 * step)
        log.samples.append(Sample(time_s, joints, joints, mask, reason, 10, "running"))
        log.frames.append((time_s, pictures))
    if masked:
        log.fault = (1.4, (masked,))
    return log


def test_depth_without_return_is_black_and_near_differs_from_far():
    picture = colorize(DEPTH, np.array([[np.nan, 0.1, 0.9]], np.float32))
    assert not picture[0, 0].any()
    assert (picture[0, 1] != picture[0, 2]).any()


def test_each_label_has_its_own_colour():
    labels = np.arange(len(LABELS), dtype=np.uint8)[None]
    assert len(np.unique(colorize(SEGMENTATION, labels)[0], axis=0)) == len(LABELS)


def test_a_masked_stream_looks_masked():
    frame = np.full((24, 32, 3), 200, np.uint8)
    used = tile(RGB, "rgb", frame, masked=False, reason="")
    masked = tile(RGB, "rgb", frame, masked=True, reason="stale")
    assert masked[CAPTION:].mean() < used[CAPTION:].mean() / 2


def test_contact_sheet_shows_the_damaged_episode(tmp_path):
    clean, damaged = episode(), episode(masked="rgb")
    write_contact_sheet(tmp_path / "clean.png", TABLE, [clean])
    write_contact_sheet(tmp_path / "damaged.png", TABLE, [clean, damaged])
    bright, dimmed = (cv2.imread(str(tmp_path / f"{n}.png")) for n in ("clean", "damaged"))
    assert bright.shape == dimmed.shape
    assert dimmed.mean() < bright.mean()


def test_film_has_every_frame(tmp_path):
    write_film(tmp_path / "film.mp4", TABLE, [episode(), episode(masked="depth")], 10)
    with av.open(str(tmp_path / "film.mp4")) as container:
        frames = list(container.decode(video=0))
        rate_hz = float(container.streams.video[0].average_rate)
    assert len(frames) == 10
    assert rate_hz == pytest.approx(10)


def test_timeline_paints_masked_time(tmp_path):
    write_timeline(tmp_path / "clean.png", TABLE, SO101, [episode()])
    write_timeline(tmp_path / "damaged.png", TABLE, SO101, [episode(masked="rgb")])
    red = tuple(int(MASKED[i : i + 2], 16) for i in (5, 3, 1))
    clean, damaged = (cv2.imread(str(tmp_path / f"{n}.png")) for n in ("clean", "damaged"))
    assert (damaged == red).all(-1).sum() > (clean == red).all(-1).sum() + 1000


def test_a_timeline_has_the_states_of_an_arm_of_steps_and_not_the_steps(tmp_path):
    panda = episode()
    panda.samples = [
        replace(sample, state=np.linspace(0, 1, 8), target=np.full(7, 90.0))
        for sample in panda.samples
    ]
    write_timeline(tmp_path / "panda.png", TABLE, PANDA, [panda])
    assert (tmp_path / "panda.png").stat().st_size > 10_000


def test_an_empty_run_is_refused_in_one_line(tmp_path):
    empty = episode(frames=0)
    with pytest.raises(ValueError, match="the run has no"):
        write_contact_sheet(tmp_path / "x.png", TABLE, [empty])
    with pytest.raises(ValueError, match="the run has no"):
        write_timeline(tmp_path / "x.png", TABLE, SO101, [empty])
    with pytest.raises(ValueError, match="no frames"):
        write_film(tmp_path / "x.mp4", TABLE, [empty], 10)
