"""The tests of the stand-ins are left out where any of the names is a real ROS 2's."""

from importlib.machinery import ModuleSpec

import pytest
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
