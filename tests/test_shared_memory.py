"""Too little shared memory is one line at launch, and a profile that needs none."""

import runpy
from collections import namedtuple
from pathlib import Path

import pytest
from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext

from multismolvla import shared_memory
from multismolvla.shared_memory import OTHERS, PROCESS_BYTES, is_ours, shortage

ROOT = Path(__file__).parents[1]
SHIPPED = ROOT / "config" / "fastdds.xml"
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def free(monkeypatch):
    """Sets how much is free."""

    def set_free(n_bytes: int) -> None:
        usage = Usage(n_bytes, 0, n_bytes)
        monkeypatch.setattr(shared_memory.shutil, "disk_usage", lambda _: usage)

    return set_free


def test_what_is_enough_is_not_mentioned_and_a_byte_less_is_one_line(free):
    enough = (4 + OTHERS) * PROCESS_BYTES
    free(enough)
    assert shortage(4) == ""
    free(enough - 1)
    assert shortage(4).count("\n") == 0 and "UDP" in shortage(4) and "--shm-size" in shortage(4)


def test_a_machine_without_shared_memory_is_one_line(tmp_path):
    assert "No such file" in shortage(4, tmp_path / "none")


def test_a_profile_of_the_user_is_left_alone(tmp_path):
    own, copy = tmp_path / "own.xml", tmp_path / "fastdds.xml"
    own.write_text("<profiles/>")
    copy.write_bytes(SHIPPED.read_bytes())
    assert is_ours(None, SHIPPED) and is_ours("", SHIPPED) and is_ours(str(copy), SHIPPED)
    assert not is_ours(str(own), SHIPPED) and not is_ours(str(tmp_path / "none"), SHIPPED)


@pytest.mark.parametrize(
    ("n_bytes", "composition", "profile"),
    [
        (64_000_000, "process", "fastdds_udp.xml"),
        (300_000_000, "process", "fastdds.xml"),
        (300_000_000, "nodes", "fastdds_udp.xml"),
    ],
)
def test_the_launch_takes_the_profile_that_fits(free, monkeypatch, n_bytes, composition, profile):
    free(n_bytes)
    monkeypatch.setenv("FASTRTPS_DEFAULT_PROFILES_FILE", str(SHIPPED))
    context = LaunchContext()
    context.launch_configurations.update(
        composition=composition, monitor="none", faults="", record=""
    )
    launch = runpy.run_path(str(ROOT / "launch" / "bringup.launch.py"))
    for action in launch["transport"](context):
        action.execute(context)
    share = Path(get_package_share_directory("multismolvla")) / "config"
    assert context.environment["FASTRTPS_DEFAULT_PROFILES_FILE"] == str(share / profile)
