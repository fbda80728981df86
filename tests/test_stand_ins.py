"""The tests of the stand-ins are left out where any of the names is a real ROS 2's."""

import contextlib
import re
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from ros2cli.cli import main as ros2_main
from stand_ins import NAMES, foreign


def specs(tmp_path, upstream=(), absent=()):
    """A finder: the stand-ins in one folder, what is upstream's in another."""

    def find(name):
        if name in absent:
            return None
        folder = tmp_path / ("opt/ros" if name in upstream else "stand_ins")
        if name == "ros2_portable":
            return ModuleSpec(name, None, origin=str(folder / f"{name}.py"))
        return ModuleSpec(name, None, origin=str(folder / name / "__init__.py"), is_package=True)

    return find


def test_where_all_are_stand_ins_their_tests_run(tmp_path):
    assert foreign(specs(tmp_path)) == []


@pytest.mark.parametrize("name", NAMES)
def test_one_of_a_real_ros_is_enough_to_leave_them_out(tmp_path, name):
    assert foreign(specs(tmp_path, upstream=[name])) == [name]


def test_beside_a_real_ros_without_the_stand_ins_all_are_foreign(tmp_path):
    assert foreign(specs(tmp_path, upstream=NAMES, absent=["ros2_portable"])) == list(NAMES)


def test_a_folder_of_the_name_is_no_package(tmp_path):
    def find(name):
        found = specs(tmp_path)(name)
        return ModuleSpec(name, None, is_package=True) if name == "launch" else found

    assert foreign(find) == ["launch"]


PAGE = Path(__file__).parents[1] / "docs" / "compatibility.md"
ROWS = re.findall(
    r"^\| `(.+?)` \| `(.+)` \|$",
    PAGE.read_text().partition("### What the stand-ins leave out")[2],
    flags=re.MULTILINE,
)


@pytest.mark.skipif(bool(foreign()), reason="the packages are a real ROS 2's")
@pytest.mark.parametrize(("use", "line"), ROWS)
def test_what_the_stand_ins_leave_out_is_said_in_the_line_of_the_page(
    tmp_path, monkeypatch, capsys, use, line
):
    monkeypatch.chdir(tmp_path)
    if use.startswith("ros2 launch FILE"):
        said = error_of(tmp_path / use.split()[-1], "")
    elif use.startswith("ros2 "):
        with contextlib.suppress(SystemExit):
            assert ros2_main(use.split()[1:]) == 1
        said = capsys.readouterr().err
    else:
        said = error_of(tmp_path / "some.launch.py", use)
    assert line in said and len(said.strip().splitlines()) == 1


def error_of(file: Path, content: str) -> str:
    """What a launch says that includes the file."""
    from launch import LaunchContext
    from launch.launch_description_sources import (
        InvalidLaunchFileError,
        PythonLaunchDescriptionSource,
    )

    file.write_text(content)
    with pytest.raises(InvalidLaunchFileError) as caught:
        PythonLaunchDescriptionSource(str(file)).get_launch_description(LaunchContext())
    return str(caught.value)


def test_the_table_of_the_page_is_read():
    assert len(ROWS) > 25
