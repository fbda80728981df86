"""LeRobot data sets as others have them: what is wrong is one line, what can be mended is said."""

import json
import re

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_up_lerobot import (
    DATA,
    FPS,
    JOINTS,
    ROWS,
    edit_info,
    edit_table,
    make_set,
    png,
    states,
)

from multismolvla.data import lerobot_layout as layout
from multismolvla.data.episode import EpisodeError
from multismolvla.data.lerobot_reader import LeRobotReader
from multismolvla.data.lerobot_set import Given
from multismolvla.embodiment.so101 import SO101


@pytest.fixture
def folder(tmp_path):
    return make_set(tmp_path / "set")


def read(folder, given=None, cameras=None):
    return LeRobotReader(folder, SO101, cameras or {"front": "rgb"}, given or Given())


def refused(folder, given=None, cameras=None):
    """The one line with which a data set is refused, at opening or at reading."""
    with pytest.raises(EpisodeError) as refusal:
        reader = read(folder, given, cameras)
        for number in range(len(reader)):
            reader.read(number)
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


def test_a_sound_set_is_read_without_a_word(folder):
    reader = read(folder)
    assert reader.warnings == [] and len(reader) == 1 and reader.name(0) == "000000"
    episode = reader.read(0)
    assert episode.instruction == "fold it" and len(episode) == ROWS
    np.testing.assert_allclose(episode.state[:, :5], np.deg2rad(states()[:, :5]), atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"fps": 0}, r"fps is 0; expected rows a second"),
        ({"fps": None}, r"fps is missing"),
        ({"fps": "30"}, r"fps is '30'"),
        ({"fps": True}, r"fps is True"),
        ({"fps": -30}, r"fps is -30"),
        ({"fps": float("nan")}, r"fps is nan"),
        ({"features": ...}, r"features is missing"),
        ({"features": []}, r"features is \[\]; expected columns and cameras by name"),
        ({"features": {}}, r"features is \{\}"),
        ({"features__action": []}, r"features\.action is \[\]; expected keys and values"),
        ({"features__action": ...}, r"features\.action is missing"),
        ({"features__action__dtype": ...}, r"features\.action\.dtype is missing"),
        ({"features__front__dtype": None}, r"features\.observation\.images\.front\.dtype is miss"),
        ({"features__action__shape": "6"}, r"features\.action\.shape is '6'"),
        ({"features__action__shape": [7]}, r"features\.action\.names has 6 names; expected 7"),
        ({"features__action__names": None}, r"action\.names is missing: which joint is which"),
        ({"features__action__names": {}}, r"action\.names is missing: which joint is which"),
        ({"features__action__names": [1, 2]}, r"action\.names is \[1, 2\]; expected a list of na"),
        ({"features__action__names": "abc"}, r"action\.names is 'abc'"),
        ({"data_path": None}, r"data_path is missing; expected a path with {chunk_index}"),
        ({"data_path": "data/{episode_chunk}.parquet"}, r"data_path is 'data/{episode_chunk}"),
        ({"data_path": "data/{chunk_index.real.parquet"}, r"data_path is 'data/{chunk_index\.re"),
        ({"data_path": "/etc/{file_index}"}, r"data_path is .*within the data set"),
        ({"data_path": "../{file_index}"}, r"data_path is .*within the data set"),
        ({"features__front__dtype": "video"}, r"video_path is missing"),
    ],
)
def test_a_wrong_info_is_one_line_with_file_and_key(folder, changes, line):
    edit_info(folder, **changes)
    found = refused(folder)
    assert found.startswith(str(folder / layout.INFO)) and re.search(line, found), found


@pytest.mark.parametrize("text", ["[1]", "7", "null", "{", '"v3.0"', ""])
def test_an_info_that_is_no_object_is_one_line(folder, text):
    (folder / layout.INFO).write_text(text)
    assert f"{folder / layout.INFO}: " in refused(folder)


def test_columns_are_found_by_their_names(folder):
    names = [f"main_{name}" for name in reversed(JOINTS)]
    edit_info(folder, features__state__names={"motors": names})
    edit_table(folder, DATA, state=states()[:, ::-1].tolist())
    episode = read(folder).read(0)
    np.testing.assert_allclose(episode.state[:, :5], np.deg2rad(states()[:, :5]), atol=1e-6)


def test_a_set_without_names_is_told_them(folder):
    edit_info(folder, features__state__names=None, features__action__names=None)
    assert "--joints shoulder_pan shoulder_lift" in refused(folder)
    episode = read(folder, Given(joints=tuple(JOINTS))).read(0)
    np.testing.assert_allclose(episode.state[0, 0], np.deg2rad(99.0), atol=1e-6)
    assert "names is 1, 2" in refused(folder, Given(joints=tuple("123456")))


def test_joints_of_other_names_are_listed_and_can_be_named(folder):
    others = ["Rotation", "Pitch", "Elbow", "Wrist_Pitch", "Wrist_Roll", "Jaw"]
    edit_info(folder, features__state__names=others, features__action__names=others)
    line = refused(folder)
    assert "names is Rotation, Pitch, Elbow, Wrist_Pitch, Wrist_Roll, Jaw; expected" in line
    assert "--joints shoulder_pan shoulder_lift" in line
    episode = read(folder, Given(joints=tuple(JOINTS))).read(0)
    np.testing.assert_allclose(episode.state[:, :5], np.deg2rad(states()[:, :5]), atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"data__chunk_index": ...}, "data/chunk_index is missing; expected a column"),
        ({"length": ...}, "length is missing"),
        ({"episode_index": [None]}, "episode_index: row 0: is None; expected each episode once"),
        ({"data__file_index": [None]}, "data/file_index: episode 0: expected a whole number"),
        ({"length": [0]}, "length: episode 0: expected a whole number from 1 on (is 0)"),
        ({"length": [8]}, "has another number of rows than its 'length' says (6 rows, length 8)"),
        ({"length": [4]}, "(6 rows, length 4)"),
        ({"data__file_index": [3]}, "file-003.parquet: is missing; the table of episodes names"),
    ],
)
def test_a_wrong_table_of_episodes_is_one_line(folder, changes, line):
    edit_table(folder, layout.EPISODES, **changes)
    assert line in refused(folder)


def test_without_episodes_nothing_is_read(folder):
    pq.write_table(pq.read_table(folder / layout.EPISODES)[:0], folder / layout.EPISODES)
    assert "meta/episodes: lists no episodes" in refused(folder)
    (folder / layout.EPISODES).write_bytes(b"PAR1")
    assert "file-000.parquet: cannot be read" in refused(folder)
    (folder / layout.EPISODES).unlink()
    assert "meta/episodes: has no table of episodes" in refused(folder)


def test_an_episode_that_is_listed_twice_is_refused(folder):
    table = pq.read_table(folder / layout.EPISODES)
    pq.write_table(pa.concat_tables([table, table]), folder / layout.EPISODES)
    assert "is 0 a second time" in refused(folder)


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ({"task_index": [0]}, "task is missing: the tasks have no names"),
        ({"task": ["fold it"]}, "task_index is missing"),
        ({"task_index": [0], "task": [None]}, "task: task_index 0: is None"),
        ({"task_index": [0], "task": [" "]}, "task: task_index 0: is ' '"),
        ({"task_index": [None], "task": ["fold it"]}, "task_index: row 0: is None"),
        ({"task_index": [0, 0], "task": ["a", "b"]}, "0 is 'a' and 'b'"),
        ({"task_index": [1], "task": ["fold it"]}, "task_index: episode 0: is not in"),
    ],
)
def test_a_wrong_table_of_tasks_is_one_line(folder, table, line):
    pq.write_table(pa.table(table), folder / layout.TASKS)
    assert line in refused(folder)


def test_the_column_of_tasks_may_have_any_name_that_pandas_took_for_its_index(folder):
    table = pa.table({"task_index": [0], "what": ["fold it"]})
    about = {"pandas": json.dumps({"index_columns": ["what"]})}
    pq.write_table(table.replace_schema_metadata(about), folder / layout.TASKS)
    assert read(folder).read(0).instruction == "fold it"


@pytest.mark.parametrize("key", ["state", "action"])
@pytest.mark.parametrize("value", [np.nan, np.inf, None])
def test_a_row_without_numbers_divides_the_episode_and_this_is_said(folder, key, value):
    rows = (states() + (0.5 if key == "action" else 0.0)).tolist()
    rows[2] = None if value is None else [*rows[2][:3], value, *rows[2][4:]]
    edit_table(folder, DATA, **{key: rows})
    reader = read(folder)
    assert [reader.name(number) for number in range(len(reader))] == ["000000-0", "000000-1"]
    assert [len(reader.read(number)) for number in range(2)] == [2, 3]
    assert all(np.isfinite(reader.read(number).action).all() for number in range(2))
    (line,) = reader.warnings
    assert "these are left out (1 of 6 rows, the first is row 2)" in line
    # Its picture is that of the row: the fourth of the file.
    assert reader.read(1).frames["rgb"][0, 0, 0, 0] == 30


def test_an_episode_without_any_numbers_is_refused(folder):
    edit_table(folder, DATA, state=[[np.nan] * 6] * ROWS)
    assert "has no two rows that follow each other and have numbers" in refused(folder)


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ([[1.0] * 6] * 5 + [[1.0] * 5], "has rows of 5 and of 6 numbers"),
        ([[1.0] * 7] * ROWS, "has 7 numbers a row; meta/info.json says 6"),
        ([["a"] * 6] * ROWS, "expected numbers"),
        ([1.0] * ROWS, "has 1 numbers a row"),
        (..., "observation.state is missing; the file has"),
    ],
)
def test_a_column_of_another_form_is_one_line(folder, rows, line):
    edit_table(folder, DATA, state=rows)
    assert line in refused(folder)


def test_rows_in_reverse_order_are_sorted_and_this_is_said(folder):
    table = pq.read_table(folder / DATA)
    pq.write_table(table.take(pa.array(range(ROWS - 1, -1, -1))), folder / DATA)
    reader = read(folder)
    (line,) = reader.warnings
    assert "the rows are out of order; they are read in the order of frame_index" in line
    episode = reader.read(0)
    np.testing.assert_allclose(episode.state[:, :5], np.deg2rad(states()[:, :5]), atol=1e-6)
    assert episode.frames["rgb"][:, 0, 0, 0].tolist() == [0, 10, 20, 30, 40, 50]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"frame_index": [0, 1, 2, 2, 4, 5]}, "frame_index: episode 0: has a number twice (2)"),
        ({"frame_index": [0, 1, None, 3, 4, 5]}, "frame_index: episode 0: is null or NaN"),
        ({"timestamp": [0, 1 / 30, np.nan, 0.1, 0.13, 0.17]}, "timestamp: episode 0: is null or"),
        ({"timestamp": np.arange(6) / 10.0}, "fps is 30; the timestamps are 0.1 s apart (10 rows"),
        ({"timestamp": [0.0] * 6}, "fps is 30; the timestamps are 0 s apart (standing still)"),
        ({"episode_index": [0, 0, None, 0, 0, 0]}, "episode_index is null in some rows"),
        ({"episode_index": [1] * 6}, "(0 rows, length 6)"),
    ],
)
def test_indices_that_contradict_each_other_are_one_line(folder, changes, line):
    edit_table(folder, DATA, **changes)
    assert line in refused(folder)


@pytest.mark.parametrize(
    ("times", "kind"),
    [
        ([0, 1 / 30, 2 / 30, 5.1, 5.1 + 1 / 30, 5.1 + 2 / 30], "has gaps in time"),
        ([0, 1 / 30, 2 / 30, 0, 1 / 30, 2 / 30], "has stamps that repeat or go back"),
    ],
)
def test_no_chunk_runs_across_a_gap_in_time(folder, times, kind):
    edit_table(folder, DATA, timestamp=np.array(times, np.float32))
    reader = read(folder)
    assert [reader.name(number) for number in range(len(reader))] == ["000000-0", "000000-1"]
    (line,) = reader.warnings
    assert f"timestamp: episode 0: {kind}" in line and "after row 2" in line
    first, second = reader.read(0), reader.read(1)
    assert len(first) == len(second) == 3
    # The chunk from the last row on stays where the arm was commanded before the gap.
    last = np.deg2rad(states()[2, 0] + 0.5)
    np.testing.assert_allclose(first.chunk_at(2, 50)[1:, 0], last, atol=1e-6)
    assert second.frames["rgb"][0, 0, 0, 0] == 30


def test_a_row_that_was_dropped_divides_the_episode(folder):
    edit_table(folder, DATA, frame_index=[0, 1, 2, 4, 5, 6], timestamp=...)
    reader = read(folder)
    assert len(reader) == 2
    assert any("skips numbers" in line for line in reader.warnings)
    assert any(
        "timestamp: episode 0: is missing; rows are taken for even" in line
        for line in reader.warnings
    )


def test_uneven_stamps_are_kept(folder):
    times = np.array([0.0, 0.04, 0.065, 0.1, 0.141, 0.166], np.float32)
    edit_table(folder, DATA, timestamp=times)
    reader = read(folder)
    assert reader.warnings == [] and len(reader) == 1
    state = reader.read(0).state
    ours_s = np.arange(len(state)) / FPS
    expected = np.interp(ours_s, times, states()[:, 1])
    np.testing.assert_allclose(np.rad2deg(state[:, 1]), expected, atol=1e-3)


def test_a_task_per_row_makes_an_episode_of_each(folder):
    layout.write_tasks(folder / layout.TASKS, {"open it": 0, "close it": 1})
    edit_table(folder, DATA, task_index=[0, 0, 0, 1, 1, 1])
    reader = read(folder)
    assert [reader.read(number).instruction for number in range(2)] == ["open it", "close it"]
    assert any("the instruction changes within the episode" in line for line in reader.warnings)
    assert [len(reader.read(number)) for number in range(2)] == [3, 3]


def test_a_row_without_a_task_has_the_only_one_of_its_episode(folder):
    edit_table(folder, DATA, task_index=[0, 0, None, None, 0, 0])
    reader = read(folder)
    assert len(reader) == 1 and reader.read(0).instruction == "fold it"
    assert "the episode's only task is taken" in reader.warnings[0]
    edit_table(folder, layout.EPISODES, tasks=[["fold it", "turn it"]])
    assert "task_index: episode 0: is null in some rows (row 2)" in refused(folder)


@pytest.mark.parametrize("value", [5, -1])
def test_a_task_that_does_not_exist_is_one_line(folder, value):
    edit_table(folder, DATA, task_index=[value] * ROWS)
    assert f"is not in meta/tasks.parquet, which has 0 ({value})" in refused(folder)


def test_an_image_beside_the_rows_is_read(folder):
    (folder / "images").mkdir()
    for number in range(ROWS):
        (folder / f"images/{number}.png").write_bytes(png(5 * number))
    edit_table(
        folder, DATA, front=[{"bytes": None, "path": f"images/{n}.png"} for n in range(ROWS)]
    )
    assert read(folder).read(0).frames["rgb"][:, 0, 0, 0].tolist() == [0, 5, 10, 15, 20, 25]


@pytest.mark.parametrize(
    ("cell", "line"),
    [
        ({"bytes": None, "path": None}, "row 0 has no image: neither bytes nor a path"),
        ({"bytes": b"", "path": "images/7.png"}, "image 'images/7.png' is not in the data set"),
        ({"bytes": None, "path": "../set.png"}, "image '../set.png' is outside of the data set"),
        ({"bytes": None, "path": "/etc/passwd"}, "image '/etc/passwd' is outside of the data set"),
        ({"bytes": b"no picture", "path": None}, "an image of 10 bytes cannot be decoded"),
        (None, "row 0 has no image"),
        (7, "row 0 has int for an image"),
    ],
)
def test_an_image_that_is_not_there_is_one_line(folder, cell, line):
    edit_table(folder, DATA, front=[cell] * ROWS)
    assert line in refused(folder)


def test_images_may_be_plain_bytes(folder):
    edit_table(folder, DATA, front=[png(9)] * ROWS)
    assert read(folder).read(0).frames["rgb"][0, 0, 0, 0] == 9


def test_depth_images_are_millimetres_or_metres_as_their_type_says(folder):
    def cells(frame):
        return [{"bytes": cv2.imencode(".tiff", frame)[1].tobytes(), "path": None}] * ROWS

    edit_info(folder, features__front__info={"is_depth_map": True, "depth_unit": "m"})
    metres = np.array([[0.5, np.nan], [0.0, 70.0]], np.float32)
    edit_table(folder, DATA, front=cells(metres))
    depth = {"front": "depth"}
    assert read(folder, cameras=depth).read(0).frames["depth"][0].tolist() == [[500, 0], [0, 0]]
    edit_table(folder, DATA, front=cells(np.full((2, 2), 700, np.uint16)))
    assert "depth_unit is m" in refused(folder, cameras=depth)
    edit_info(folder, features__front__info={"is_depth_map": True, "depth_unit": "mm"})
    assert read(folder, cameras=depth).read(0).frames["depth"][0, 0, 0] == 700
    assert "is a depth map; it cannot be 'rgb'" in refused(folder)
    edit_info(folder, features__front__info={"is_depth_map": True, "depth_unit": "inch"})
    assert "depth_unit is 'inch'; expected m or mm" in refused(folder, cameras=depth)


def test_colours_are_no_depth_and_counts_without_a_zero_no_temperatures(folder):
    assert "expected uint16, 1 channel" in refused(folder, cameras={"front": "depth"})
    assert "does not say what its counts are" in refused(folder, cameras={"front": "thermal"})
