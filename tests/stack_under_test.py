"""The whole stack in simulation as a test has it: brought up, watched, and gone afterwards."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import rclpy
import yaml
from ament_index_python.packages import get_package_share_directory
from patience import HANG_S
from rclpy.signals import SignalHandlerOptions

from multismolvla.embodiment.so101 import SO101
from multismolvla.nodes.episode_runner import EpisodeRunner
from multismolvla.stack.bringup_process import NO_TASK, BringupProcess
from multismolvla.streams import load_stream_table

MARK = "MULTISMOLVLA_STACK_UNDER_TEST"
TASK = "put the red cube in the bin"
# What the tick of a measurement may exceed a limit by: two steps of a 12-bit encoder.
TICK_RAD = 2 * 2 * np.pi / 4096
# A third of the shipped rate: the processors are shared with the other tests and with other work,
# and a stream is stale only after 0.4 s.
RATE_HZ = 5.0


def marked_processes() -> dict[int, str]:
    """Process id -> command line of every process that the stack under test has started."""
    mark = f"{MARK}={os.environ[MARK]}".encode()
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().decode()
    return found


def pid_of(executable: str, namespace: str | None = None) -> int:
    """Process id of a node of the stack under test, in any namespace or in this one."""
    for pid, command in marked_processes().items():
        in_wrist = "__ns:=/wrist" in command
        if f"/{executable}\0" in command and namespace in (None, "wrist" if in_wrist else ""):
            return pid
    raise AssertionError(f"{executable} is not running: {marked_processes()}")


def positions(runner: EpisodeRunner) -> np.ndarray:
    return np.array(runner.watch.state)


def start_moving(runner: EpisodeRunner) -> None:
    """A fresh scene and the task in it; returns once the arm has left its pose."""
    runner.begin_episode(TASK, seed=1)

    def distance() -> float:
        return np.abs(positions(runner) - SO101.home_rad).max()

    runner.wait_until(lambda: distance() < 0.05, "the arm at its home pose", HANG_S)
    runner.wait_until(lambda: distance() > 0.2, "motion after the task", HANG_S)


def assert_within_limits(runner: EpisodeRunner) -> None:
    joints = positions(runner)
    assert (joints > SO101.lower_rad - TICK_RAD).all(), joints
    assert (joints < SO101.upper_rad + TICK_RAD).all(), joints


@contextlib.contextmanager
def running_stack(folder: Path, **arguments: str) -> Iterator[EpisodeRunner]:
    """A runner on a stack that is up and has every stream; nothing of it is left behind.

    Args:
        folder: of the test, for its files.
        arguments: of the launch file.
    """
    os.environ[MARK] = uuid.uuid4().hex
    shipped = Path(get_package_share_directory("multismolvla")) / "config" / "streams.yaml"
    content = yaml.safe_load(shipped.read_text())
    for stream in content["streams"]:
        stream["rate_hz"] = RATE_HZ
    streams_file, log = folder / "streams.yaml", folder / "launch.log"
    streams_file.write_text(yaml.safe_dump(content))
    given = {"policy": "expert", "task": NO_TASK, "streams_file": str(streams_file), **arguments}
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    try:
        with (
            BringupProcess(given, log) as bringup,
            contextlib.closing(
                EpisodeRunner(load_stream_table(streams_file), check=bringup.check)
            ) as runner,
        ):
            runner.wait_ready(HANG_S)
            yield runner
    finally:
        rclpy.try_shutdown()
    left = marked_processes()
    assert not left, f"left behind: {left}\n{log.read_text()[-2000:]}"
