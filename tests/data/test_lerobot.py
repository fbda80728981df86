"""LeRobot data sets: ours come back as they were, others' are read through a camera map."""

import dataclasses
import json

import av
import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_up_episode import STREAMS, assert_same, made_up_episode, made_up_steps

from multismolvla.data import lerobot_layout as layout
from multismolvla.data.episode import EpisodeError
from multismolvla.data.lerobot_reader import LeRobotReader
from multismolvla.data.lerobot_set import Given
from multismolvla.data.lerobot_writer import LeRobotWriter
from multismolvla.embodiment.panda import PANDA
from multismolvla.embodiment.so101 import SO101

SHAPES = {stream: (6, 8, 3) if stream.endswith("rgb") else (6, 8) for stream in STREAMS}


def write(folder, episodes, shapes=SHAPES, objects=("cube", "brick")):
    with LeRobotWriter(folder, SO101, dict(shapes), objects) as writer:
        for episode in episodes:
            writer.add(episode)
    return LeRobotReader(folder, SO101)


def test_episodes_come_back_as_they_were(tmp_path):
    episodes = [made_up_episode(seed, rows=5 + seed) for seed in range(3)]
    reader = write(tmp_path / "set", episodes)
    assert len(reader) == 3
    for number, episode in enumerate(episodes):
        assert_same(reader.read(number), episode, tolerance=1e-6)


def test_what_an_episode_lacks_it_lacks_afterwards(tmp_path):
    whole = made_up_episode(0)
    part = made_up_episode(
        1, streams=("depth",), object_poses={}, frame_index={"depth": np.array([1, 2, 4, 6, 8])}
    )
    reader = write(tmp_path / "set", [whole, part])
    assert_same(reader.read(1), part, tolerance=1e-6)


def test_the_folder_is_what_lerobot_looks_for(tmp_path):
    write(tmp_path / "set", [made_up_episode(seed) for seed in (0, 1, 0)])
    info = json.loads((tmp_path / "set" / layout.INFO).read_text())
    assert (info["codebase_version"], info["fps"], info["total_tasks"]) == ("v3.0", 30, 2)
    assert info["features"]["observation.images.rgb"]["shape"] == [6, 8, 3]
    assert info["features"]["observation.state"]["names"][0] == "shoulder_pan.pos"
    data = pq.read_table(tmp_path / "set" / "data/chunk-000/file-000.parquet")
    assert data.column_names == list(info["features"])
    assert data["index"].to_pylist() == list(range(info["total_frames"]))
    assert data["task_index"].to_pylist() == [0] * 9 + [1] * 9 + [0] * 9
    episodes = pq.read_table(tmp_path / "set" / layout.EPISODES).to_pylist()
    assert [row["dataset_from_index"] for row in episodes] == [0, 9, 18]
    stats = json.loads((tmp_path / "set" / layout.STATS).read_text())
    state = np.array(data[layout.STATE].to_pylist())
    np.testing.assert_allclose(stats[layout.STATE]["mean"], state.mean(0), atol=1e-6)
    assert np.shape(stats["observation.images.rgb"]["std"]) == (3, 1, 1)


def test_an_image_that_stays_is_stored_once(tmp_path):
    rng = np.random.default_rng(0)
    frames = {"rgb": rng.integers(0, 256, (2, 96, 96, 3)).astype(np.uint8)}
    episode = made_up_episode(
        rows=60,
        every=30,
        streams=("rgb",),
        frames=frames,
        chunks=np.zeros((0, 50, 6), np.float32),
        chunk_index=np.zeros(0, np.int64),
    )
    write(tmp_path / "set", [episode], {"rgb": (96, 96, 3)})
    size = (tmp_path / "set/data/chunk-000/file-000.parquet").stat().st_size
    assert size < 4 * frames["rgb"].nbytes


def test_episodes_of_steps_come_back_under_the_names_of_libero_s_data_sets(tmp_path):
    streams = ("agentview/rgb", "agentview/depth", "wrist/rgb")
    shapes = {name: (6, 8, 3) if name.endswith("rgb") else (6, 8) for name in streams}
    episodes = [made_up_steps(seed, rows=5 + seed, streams=streams) for seed in range(2)]
    # A label need not be as long as the data set allows.
    episodes.append(dataclasses.replace(episodes[1], chunks=episodes[1].chunks[:, :20]))
    with LeRobotWriter(tmp_path / "set", PANDA, shapes, ("grasp", "place")) as writer:
        for episode in episodes:
            writer.add(episode)
        slow = dataclasses.replace(PANDA.action, period_s=0.1)
        with pytest.raises(EpisodeError, match=r"period_s is 0\.1; expected 0\.05"):
            writer.add(made_up_steps(streams=streams, action_space=slow))
    info = json.loads((tmp_path / "set" / layout.INFO).read_text())
    assert (info["fps"], info["robot_type"]) == (20, "panda")
    cameras = [name for name, value in info["features"].items() if value["dtype"] == "image"]
    assert cameras == [
        "observation.images.image",
        "observation.images.agentview_depth",
        "observation.images.image2",
    ]
    state, action = (info["features"][key] for key in (layout.STATE, layout.ACTION))
    assert (state["shape"], action["shape"]) == ([8], [7])
    assert state["names"]["motors"][5:] == ["axis_angle3", "gripper", "gripper"]
    data = pq.read_table(tmp_path / "set" / "data/chunk-000/file-000.parquet")
    assert data["timestamp"][1].as_py() == pytest.approx(0.05)
    reader = LeRobotReader(tmp_path / "set", PANDA)
    for number, episode in enumerate(episodes):
        assert_same(reader.read(number), episode, tolerance=1e-6)
    with pytest.raises(
        EpisodeError, match=r"observation\.state\.names is x, y, .*expected shoulder_pan"
    ):
        LeRobotReader(tmp_path / "set", SO101)


@pytest.mark.parametrize("named", [False, True])
def test_steps_of_a_foreign_set_are_taken_row_by_row(tmp_path, named):
    folder = foreign(tmp_path / "libero", names=["x"] * 6)
    rng = np.random.default_rng(0)
    path = folder / "data/chunk-000/file-000.parquet"
    table = pq.read_table(path)
    picture = table["observation.images.hand"]
    for camera in ("image", "image2"):
        table = table.append_column(f"observation.images.{camera}", picture)
    numbers = {
        layout.STATE: rng.normal(size=(len(table), 8)).astype(np.float32),
        layout.ACTION: rng.uniform(-1, 1, (len(table), 7)).astype(np.float32),
    }
    info = json.loads((folder / layout.INFO).read_text())
    camera = info["features"]["observation.images.hand"]
    info["features"] |= {f"observation.images.{name}": camera for name in ("image", "image2")}
    for key, values in numbers.items():
        column = pa.array(values.tolist(), pa.list_(pa.float32(), values.shape[1]))
        table = table.set_column(table.column_names.index(key), key, column)
        names = {"motors": list(layout.number_names(PANDA, key))} if named else [key]
        info["features"][key] = {"dtype": "float32", "shape": [values.shape[1]], "names": names}
    pq.write_table(table, path)
    (folder / layout.INFO).write_text(json.dumps(info))
    episode = LeRobotReader(folder, PANDA).read(0)
    assert episode.streams == ("agentview/rgb", "wrist/rgb")
    rows = len(episode)
    # The set says 10 a second; a step is of the arm's own period all the same.
    assert (episode.period_s, np.unique(np.diff(episode.stamps_ns)).tolist()) == (
        0.05,
        [50_000_000],
    )
    np.testing.assert_array_equal(episode.state, numbers[layout.STATE][:rows])
    np.testing.assert_array_equal(episode.action, numbers[layout.ACTION][:rows])
    assert episode.frame_index["wrist/rgb"].tolist() == list(range(rows))


def test_what_breaks_off_leaves_nothing(tmp_path):
    with pytest.raises(EpisodeError, match="depth has frames"):
        write(tmp_path / "set", [made_up_episode()], SHAPES | {"depth": (7, 8)})
    assert not list(tmp_path.iterdir())
    (tmp_path / "set").mkdir()
    with pytest.raises(EpisodeError, match="exists already"):
        write(tmp_path / "set", [made_up_episode()])


DEGREES = Given("degrees")
JOINTS = ["shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper"]


def foreign(folder, fps=10, rows=8, codec="libx264", names=None):
    """A data set as LeRobot records it: a video of a rising grey, an image camera, degrees."""
    names = names or [f"{name}.pos" for name in JOINTS]
    joints = {"dtype": "float32", "shape": [6], "names": names}
    info = {
        "codebase_version": "v3.0",
        "fps": fps,
        "data_path": layout.DATA,
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
        "features": {
            "observation.images.front": {"dtype": "video", "shape": [64, 64, 3], "names": None},
            "observation.images.hand": {"dtype": "image", "shape": [4, 4, 3], "names": None},
            "observation.state": joints,
            "action": joints,
        },
    }
    video = "videos/observation.images.front/chunk-000/file-000.mp4"
    for name in (layout.INFO, layout.TASKS, layout.EPISODES, "data/chunk-000/file-000.parquet"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / video).parent.mkdir(parents=True)
    (folder / layout.INFO).write_text(json.dumps(info))
    pq.write_table(
        pa.table({"task_index": [0], layout.TASK_COLUMN: ["fold it"]}), folder / layout.TASKS
    )
    key = "videos/observation.images.front"
    episodes = [
        {
            "episode_index": number,
            "tasks": ["fold it"],
            "length": rows,
            "data/chunk_index": 0,
            "data/file_index": 0,
            f"{key}/chunk_index": 0,
            f"{key}/file_index": 0,
            f"{key}/from_timestamp": number * rows / fps,
            "stats/action/mean": [0.0],
        }
        for number in range(2)
    ]
    pq.write_table(pa.Table.from_pylist(episodes), folder / layout.EPISODES)
    picture = cv2.imencode(".png", np.full((4, 4, 3), (10, 20, 30), np.uint8))[1].tobytes()
    state = np.arange(2 * rows)[:, None] * np.ones(6)
    pq.write_table(
        pa.table(
            {
                "observation.state": state.astype(np.float32).tolist(),
                "action": (state + 1).astype(np.float32).tolist(),
                "observation.images.hand": [{"bytes": picture, "path": None}] * 2 * rows,
                "episode_index": np.repeat([0, 1], rows),
                "task_index": [0] * 2 * rows,
            }
        ),
        folder / "data/chunk-000/file-000.parquet",
    )
    with av.open(str(folder / video), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for number in range(2 * rows):
            grey = np.full((64, 64, 3), 10 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        container.mux(stream.encode())
    return folder


def test_a_data_set_of_others_is_read_through_a_camera_map(tmp_path):
    reader = LeRobotReader(
        foreign(tmp_path), SO101, {"front": "rgb", "observation.images.hand": "wrist/rgb"}, DEGREES
    )
    episode = reader.read(1)
    # 8 frames at 10 Hz are 22 rows at 30 Hz.
    assert len(reader) == 2 and len(episode) == 22 and episode.instruction == "fold it"
    assert episode.frame_index["rgb"].tolist() == [0, 3, 6, 9, 12, 15, 18, 21]
    greys = episode.frames["rgb"][:, 32, 32, 0].astype(int)
    assert np.abs(greys - 10 * np.arange(8, 16)).max() <= 3
    assert episode.frames["wrist/rgb"][0, 0, 0].tolist() == [30, 20, 10]
    np.testing.assert_allclose(episode.state[3, :5], np.deg2rad(9.0), atol=1e-6)
    span = SO101.upper_rad[5] - SO101.lower_rad[5]
    np.testing.assert_allclose(episode.action[0, 5], SO101.lower_rad[5] + 0.09 * span, atol=1e-6)
    np.testing.assert_allclose(episode.chunk_at(4, 2), episode.action[3:5], atol=1e-6)


def test_frames_are_brought_to_the_streams_size(tmp_path):
    def resize(stream, frame):
        return cv2.resize(frame, (5, 3))

    episode = LeRobotReader(
        foreign(tmp_path), SO101, {"front": "rgb"}, DEGREES, resize=resize
    ).read(0)
    assert episode.streams == ("rgb",) and episode.frames["rgb"].shape == (8, 3, 5, 3)


def test_what_cannot_be_used_is_one_line(tmp_path):
    foreign(tmp_path / "a")
    with pytest.raises(EpisodeError, match=r"say which camera.*front.*hand"):
        LeRobotReader(tmp_path / "a", SO101, None, DEGREES)
    with pytest.raises(EpisodeError, match="no camera 'top'"):
        LeRobotReader(tmp_path / "a", SO101, {"top": "rgb"}, DEGREES)
    foreign(tmp_path / "b", names=[f"joint_{i}" for i in range(6)])
    with pytest.raises(EpisodeError, match=r"observation\.state\.names is joint_0"):
        LeRobotReader(tmp_path / "b", SO101, {"front": "rgb"}, DEGREES)
    info = tmp_path / "b" / layout.INFO
    info.write_text(info.read_text().replace("v3.0", "v2.1"))
    with pytest.raises(EpisodeError, match=r"v2\.1"):
        LeRobotReader(tmp_path / "b", SO101, {"front": "rgb"}, DEGREES)
    video = tmp_path / "a/videos/observation.images.front/chunk-000/file-000.mp4"
    video.write_bytes(b"nothing")
    with pytest.raises(EpisodeError, match="cannot read the video") as refusal:
        LeRobotReader(tmp_path / "a", SO101, {"front": "rgb"}, DEGREES).read(0)
    assert "\n" not in str(refusal.value)
