"""Films of episodes, and sheets of their frames."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

import av
import cv2
import numpy as np

from multismolvla.pictures.episode_log import EpisodeLog
from multismolvla.pictures.sensor_panel import CAPTION, FONT, TILE, WHITE, panel, tile, tiles
from multismolvla.streams import Stream, StreamTable

# Pictures to and from video files.


def write_video(path: Path, pictures: Iterator[np.ndarray], rate_hz: int) -> None:
    """Write BGR pictures (H, W, 3) uint8 of even height and width as H.264."""
    first = next(pictures, None)
    if first is None:
        return
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=rate_hz, options={"crf": "23"})
        video.pix_fmt = "yuv420p"
        video.height, video.width = first.shape[:2]
        for picture in chain((first,), pictures):
            rgb = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
            container.mux(video.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(video.encode())


def read_video(path: Path) -> Iterator[np.ndarray]:
    """The pictures of a video, BGR (H, W, 3) uint8."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="bgr24")


# A film of a run: all streams side by side, masked ones crossed out, as MP4 (H.264).


def write_film(
    path: Path, table: StreamTable, episodes: Sequence[EpisodeLog], rate_hz: int
) -> None:
    """Write every frame of every episode at the rate at which they were taken.

    Raises:
        ValueError: the run has no frames.
    """
    if not any(episode.frames for episode in episodes):
        raise ValueError("the run has no frames to show; did any sensor publish?")
    write_video(path, _pictures(table, episodes), rate_hz)


def _pictures(table: StreamTable, episodes: Sequence[EpisodeLog]) -> Iterator[np.ndarray]:
    for number, episode in enumerate(episodes, start=1):
        for time_s, frames in episode.frames:
            sample = episode.sample_at(time_s)
            caption = (
                f"episode {number}/{len(episodes)}  '{episode.instruction}'  "
                f"{time_s - episode.start_s:5.1f} s  {sample.mode}  "
                f"queue {sample.queue_length}"
            )
            yield panel(table, frames, sample.mask, sample.mask_reason, caption)


# The end of an episode to look at: one view of each camera, masked ones crossed out, as MP4.

RATE_HZ = 5
CAMERA_HZ = 15


class Clip:
    """Collects what the cameras see of one episode, and writes it if anybody wants it."""

    def __init__(self, table: StreamTable) -> None:
        # RGB is the first stream of a view, where the view has it.
        views: dict[str, Stream] = {}
        for stream in table:
            views.setdefault(stream.view, stream)
        self._shown = tuple(views.values())
        self.streams = tuple(stream.name for stream in self._shown)
        self._seen = 0
        self._pictures: list[np.ndarray] = []

    def on_frames(
        self, since_s: float, frames: Mapping[str, np.ndarray], mask: Mapping[str, bool]
    ) -> None:
        """Take in what the cameras see; see `episode.Spectator`."""
        self._seen += 1
        if self._seen % (CAMERA_HZ // RATE_HZ) == 1:
            views = [
                tile(
                    stream.modality,
                    f"{stream.name} {since_s:.1f} s",
                    np.ascontiguousarray(frames[stream.name]),
                    not mask.get(stream.name, False),
                    "masked",
                )
                for stream in self._shown
            ]
            self._pictures.append(np.hstack(views))

    def write(self, path: Path) -> None:
        """Write what was seen, BGR pictures of equal size; nothing if nothing was."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, iter(self._pictures), RATE_HZ)


# A wall of clips that play side by side: the failures of an evaluation at one look.

HEAD = 24


def write_video_wall(path: Path, clips: Mapping[str, Path], columns: int = 4) -> None:
    """Write an MP4 of clips, each under its title; one that is over stands still.

    Args:
        clips: title -> file. They may differ in size.

    Raises:
        ValueError: there are no clips.
    """
    if not clips:
        raise ValueError("there are no clips to show")
    write_video(path, _walls(clips, min(columns, len(clips))), RATE_HZ)


def _walls(clips: Mapping[str, Path], columns: int) -> Iterator[np.ndarray]:
    playing = {title: read_video(file) for title, file in clips.items()}
    shown = {title: next(video) for title, video in playing.items()}
    height = max(picture.shape[0] for picture in shown.values())
    width = max(picture.shape[1] for picture in shown.values())
    while playing:
        tiles = [_titled(title, picture, height, width) for title, picture in shown.items()]
        empty = np.full_like(tiles[0], 20)
        tiles += [empty] * (math.ceil(len(tiles) / columns) * columns - len(tiles))
        yield np.vstack([np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)])
        for title, video in list(playing.items()):
            picture = next(video, None)
            if picture is None:
                del playing[title]
            else:
                shown[title] = picture


def _titled(title: str, picture: np.ndarray, height: int, width: int) -> np.ndarray:
    framed = np.full((HEAD + height, width, 3), 20, np.uint8)
    framed[HEAD : HEAD + picture.shape[0], : picture.shape[1]] = picture
    cv2.putText(framed, title, (5, 16), FONT, 0.4, WHITE, 1, cv2.LINE_AA)
    return framed


# A contact sheet: a few moments of a run, one row a moment, one column a stream.

MARGIN = 110


def write_contact_sheet(
    path: Path, table: StreamTable, episodes: Sequence[EpisodeLog], moments: int = 6
) -> None:
    """Write a PNG with `moments` rows from the episode in which a stream was cut, or the first.

    Raises:
        ValueError: the run has no frames.
    """
    faulty = [episode for episode in episodes if episode.fault]
    episode = (faulty or list(episodes))[0]
    if not episode.frames:
        raise ValueError("the run has no frames to show; did any sensor publish?")
    chosen = np.linspace(0, len(episode.frames) - 1, moments).round().astype(int)
    rows = []
    for index in chosen:
        time_s, frames = episode.frames[index]
        sample = episode.sample_at(time_s)
        margin = np.full((CAPTION + TILE, MARGIN, 3), 20, np.uint8)
        lines = (f"{time_s - episode.start_s:.1f} s", sample.mode, f"queue {sample.queue_length}")
        for number, line in enumerate(lines):
            cv2.putText(margin, line, (8, 40 + 22 * number), FONT, 0.5, WHITE, 1, cv2.LINE_AA)
        rows.append(np.hstack([margin, *tiles(table, frames, sample.mask, sample.mask_reason)]))
    head = np.full((36, rows[0].shape[1], 3), 20, np.uint8)
    title = f"'{episode.instruction}', seed {episode.seed}: "
    title += f"success in {episode.success_time_s:.1f} s" if episode.success else "failure"
    cv2.putText(head, title, (8, 24), FONT, 0.6, WHITE, 1, cv2.LINE_AA)
    cv2.imwrite(str(path), np.vstack([head, *rows]))
