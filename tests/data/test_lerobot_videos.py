"""Videos of LeRobot data sets: several files of a kind, frames by their time, 12 bits of depth."""

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_up_lerobot import DATA, FPS, ROWS, edit_info, edit_table, make_set

from multismolvla.data import lerobot_layout as layout
from multismolvla.data.episode import EpisodeError
from multismolvla.data.lerobot_check import check_set
from multismolvla.data.lerobot_info import DepthCoding
from multismolvla.data.lerobot_pictures import depth_of_codes, read_frames
from multismolvla.data.lerobot_reader import LeRobotReader
from multismolvla.data.lerobot_set import NOTHING
from multismolvla.embodiment.so101 import SO101

VIDEO = "observation.images.top"
PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mkv"
# The defaults of LeRobot 0.6's depth encoder.
CODING = {"depth_min": 0.01, "depth_max": 10.0, "shift": 3.5, "use_log": True}


def encode(path, frames, pix_fmt="yuv420p", codec="libx264", stamps=None):
    """Write frames (H, W) uint8 grey or uint16 codes, at their stamps in periods."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=FPS)
        stream.height, stream.width = frames[0].shape
        stream.pix_fmt = pix_fmt
        for number, frame in enumerate(frames):
            kind = "gray12le" if frame.dtype == np.uint16 else "gray"
            picture = av.VideoFrame.from_ndarray(frame, format=kind)
            picture.pts = number if stamps is None else stamps[number]
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def greys(values):
    return [np.full((32, 32), value, np.uint8) for value in values]


def with_video(folder, **about):
    """The data set with a video camera `top`, whose frames are not written yet."""
    camera = {"dtype": "video", "shape": [32, 32, 3], "names": None, **about}
    edit_info(folder, video_path=PATH, **{f"features__{VIDEO}": camera})
    episodes = len(pq.read_table(folder / layout.EPISODES))
    key = f"videos/{VIDEO}"
    edit_table(
        folder,
        layout.EPISODES,
        **{
            f"{key}/chunk_index": [0] * episodes,
            f"{key}/file_index": [0] * episodes,
            f"{key}/from_timestamp": [number * ROWS / FPS for number in range(episodes)],
        },
    )
    return folder


def file(folder, number=0):
    return folder / PATH.format(video_key=VIDEO, chunk_index=0, file_index=number)


def read(folder, number=0, stream="rgb"):
    return LeRobotReader(folder, SO101, {"top": stream}).read(number)


def shown(episode, stream="rgb"):
    """The grey of each frame."""
    return np.rint(episode.frames[stream][:, 16, 16, 0] / 20.0).astype(int).tolist()


def test_several_files_of_each_kind(tmp_path):
    folder = with_video(make_set(tmp_path / "set", episodes=3))
    # The third episode lies in files of its own.
    table = pq.read_table(folder / layout.EPISODES)
    table = table.set_column(
        table.column_names.index("data/file_index"), "data/file_index", pa.array([0, 0, 1])
    )
    for key, values in (("file_index", [0, 0, 1]), ("from_timestamp", [0.0, ROWS / FPS, 0.0])):
        name = f"videos/{VIDEO}/{key}"
        table = table.set_column(table.column_names.index(name), name, pa.array(values))
    pq.write_table(table[:2], folder / layout.EPISODES)
    pq.write_table(table[2:], folder / layout.EPISODES.replace("file-000", "file-001"))
    rows = pq.read_table(folder / DATA)
    pq.write_table(rows[: 2 * ROWS], folder / DATA)
    pq.write_table(rows[2 * ROWS :], folder / DATA.replace("file-000", "file-001"))
    encode(file(folder, 0), greys([20 * value for value in range(12)]))
    encode(file(folder, 1), greys([20 * value for value in range(5, 11)]))
    reader = LeRobotReader(folder, SO101, {"top": "rgb"})
    assert len(reader) == 3 and reader.warnings == []
    assert [shown(reader.read(number)) for number in range(3)] == [
        [0, 1, 2, 3, 4, 5],
        [6, 7, 8, 9, 10, 11],
        [5, 6, 7, 8, 9, 10],
    ]


def test_a_frame_is_that_of_its_rows_time(tmp_path):
    folder = with_video(make_set(tmp_path / "set"))
    periods = [0, 1, 2, 40, 41, 42]
    edit_table(folder, DATA, timestamp=np.array(periods, np.float32) / FPS)
    encode(file(folder), greys([0, 20, 40, 60, 80, 100]), stamps=periods)
    assert shown(read(folder, 1)) == [3, 4, 5]
    # Frames that follow each other without the gap are not those of the rows.
    encode(file(folder), greys([0, 20, 40, 60, 80, 100]))
    assert shown(read(folder, 0)) == [0, 1, 2]
    with pytest.raises(EpisodeError, match=r"has 0 frames from 1\.33 s on, not 3"):
        read(folder, 1)


def test_a_video_with_a_hole_or_too_short_is_one_line(tmp_path):
    folder = with_video(make_set(tmp_path / "set"))
    encode(file(folder), greys([0] * 5))
    with pytest.raises(EpisodeError, match=r"has 5 frames from 0\.00 s on, not 6"):
        read(folder)
    encode(file(folder), greys([0] * 6), stamps=[0, 1, 2, 9, 10, 11])
    with pytest.raises(EpisodeError, match=r"has no frame at 0\.10 s, the next is at 0\.30 s"):
        read(folder)
    file(folder).unlink()
    with pytest.raises(EpisodeError, match=r"cannot read the video: .*No such file"):
        read(folder)


def test_the_place_of_a_video_is_needed_only_of_the_cameras_that_are_used(tmp_path):
    folder = with_video(make_set(tmp_path / "set"))
    edit_table(folder, layout.EPISODES, **{f"videos/{VIDEO}/from_timestamp": ...})
    assert len(LeRobotReader(folder, SO101, {"front": "rgb"})) == 1
    with pytest.raises(EpisodeError, match=r"top/from_timestamp is missing; expected a column"):
        LeRobotReader(folder, SO101, {"top": "rgb"})


def test_rows_that_were_recorded_unevenly_may_share_a_frame(tmp_path):
    path = encode(tmp_path / "a.mkv", greys([0, 20, 40, 60]))
    frames = read_frames(path, np.array([0.0, 0.01, 0.035, 0.09]), FPS)
    assert [round(frame[16, 16, 0] / 20) for frame in frames] == [0, 0, 1, 3]


def depth_set(folder, codes, **changes):
    info = {"is_depth_map": True, "depth_unit": "mm"}
    info |= {f"video.{key}": value for key, value in CODING.items()} | changes
    info = {key: value for key, value in info.items() if value is not ...}
    with_video(make_set(folder), info=info, shape=[32, 32, 1])
    frames = [np.full((32, 32), code, np.uint16) for code in codes]
    # Lossless as LeRobot's, and faster to write than its HEVC.
    encode(file(folder), frames, "gray12le", "ffv1")
    return folder


def test_a_depth_video_of_12_bits_is_read_in_millimetres(tmp_path):
    folder = depth_set(tmp_path / "set", [0, 1, 1000, 2048, 4094, 4095])
    frames = read(folder, stream="depth").frames["depth"]
    assert frames.dtype == np.uint16 and frames.shape == (ROWS, 32, 32)
    # What LeRobot 0.6.1's dequantize_depth gives; it has 10 and 10000 mm at the ends, where it
    # clips and where 'no return' is as well.
    assert frames[:, 5, 5].tolist() == [0, 11, 1377, 3385, 9996, 0]


def test_linear_codes(tmp_path):
    codes = np.array([[1, 2048], [4094, 0]], np.uint16)
    depth_m = depth_of_codes(codes, DepthCoding(0.0, 4.095, 0.0, False))
    np.testing.assert_allclose(depth_m, [[0.001, 2.048], [4.094, np.nan]], atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"video.shift": ...}, r"top\.info\.video\.shift is missing; expected metres"),
        ({"video.depth_max": "10"}, r"video\.depth_max is '10'; expected metres"),
        ({"video.use_log": 1}, r"video\.use_log is 1; expected true or false"),
        ({"video.depth_min": 11.0}, r"video\.depth_min is 11\.0 with depth_max 10\.0"),
    ],
)
def test_a_depth_video_whose_coding_is_not_known_is_refused(tmp_path, changes, line):
    folder = depth_set(tmp_path / "set", [0] * 6, **changes)
    with pytest.raises(EpisodeError, match=line):
        read(folder, stream="depth")


def test_a_depth_video_of_8_bits_is_refused(tmp_path):
    folder = depth_set(tmp_path / "set", [0] * 6)
    encode(file(folder), greys([0] * 6))
    with pytest.raises(EpisodeError, match="the depth video is yuv420p; expected 12 bits"):
        read(folder, stream="depth")


def test_a_camera_is_only_what_it_can_be(tmp_path):
    folder = depth_set(tmp_path / "set", [0] * 6)
    with pytest.raises(EpisodeError, match="is a depth map; it cannot be 'wrist/rgb'"):
        read(folder, stream="wrist/rgb")
    folder = with_video(make_set(tmp_path / "colours"))
    with pytest.raises(EpisodeError, match="is a video of colours; it cannot be 'depth'"):
        read(folder, stream="depth")


def told(folder):
    """What the check-up says of the videos."""
    return [
        (finding.severity, finding.what)
        for finding in check_set(folder, SO101, NOTHING)[1]
        if finding.file.startswith("videos")
    ]


def test_the_check_up_finds_what_is_wrong_with_a_video_without_decoding_it(tmp_path):
    folder = with_video(make_set(tmp_path / "set", episodes=2))
    encode(file(folder), greys([0] * 12))
    assert told(folder) == []
    encode(file(folder), greys([0] * 9))
    ((severity, what),) = told(folder)
    assert severity == "error" and what.startswith("episode 1: has no frame for some rows; it ends")
    assert what.endswith("(3 of 6 rows, the first at 0.30 s)")
    encode(file(folder), greys([0] * 12), stamps=[2 * number for number in range(12)])
    assert told(folder)[0][1].startswith("episodes 0, 1: has no frame for some rows")
    file(folder).write_bytes(b"nothing")
    assert told(folder)[0][1].startswith("cannot read the video")
    file(folder).unlink()
    assert told(folder) == [("error", "is missing; it has episodes 0, 1")]


def test_the_check_up_tells_a_video_of_another_size_and_depth_of_8_bits(tmp_path):
    folder = with_video(make_set(tmp_path / "set"), shape=[64, 64, 3])
    encode(file(folder), greys([0] * 6))
    assert told(folder) == [("warning", "is 32x32; meta/info.json says 64x64x3")]
    folder = depth_set(tmp_path / "depth", [0] * 6)
    assert told(folder) == []
    encode(file(folder), greys([0] * 6))
    assert told(folder) == [("error", "is yuv420p (h264); expected 12 bits, as a depth map has")]


def test_the_check_up_tells_frames_beside_the_stamps_of_their_rows(tmp_path):
    folder = with_video(make_set(tmp_path / "set"))
    edit_table(folder, layout.EPISODES, **{f"videos/{VIDEO}/from_timestamp": [0.01]})
    encode(file(folder), greys([0] * 6))
    assert told(folder) == [("warning", "has frames up to 0.010 s beside the stamps of their rows")]
