"""`ros2 launch` and `ros2 run` as commands, and what lies outside the stand-ins."""

import os
import signal
import subprocess
import sys

import pytest

ROS2 = os.path.join(os.path.dirname(sys.executable), "ros2")
LAUNCH_FILE = """
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, GroupAction, LogInfo
from launch.conditions import IfCondition
from launch.substitutions import EnvironmentVariable, LaunchConfiguration

def generate_launch_description():
    return LaunchDescription([
        DeclareLaunchArgument("mode", default_value="slow", choices=["slow", "fast"],
                              description="How fast"),
        DeclareLaunchArgument("who", default_value=["a ", EnvironmentVariable("USER")]),
        GroupAction([DeclareLaunchArgument("extra", default_value="1")],
                    condition=IfCondition("true")),
        LogInfo(msg=["mode is ", LaunchConfiguration("mode"),
                     LaunchConfiguration("undeclared", default="")]),
    ])
"""
SHOWN = """Arguments (pass arguments as '<name>:=<value>'):

    'mode':
        How fast. Valid choices are: ['slow', 'fast']
        (default: 'slow')

    'who':
        no description given
        (default: 'a ' + EnvVar('USER'))

    'extra':*
        no description given
        (default: '1')

* argument(s) which are only used if specific conditions occur
"""


@pytest.fixture
def ros2(tmp_path):
    """Runs the command in a folder with the package `probe` and its launch file."""
    for folder in ("lib/probe", "share/probe", "share/ament_index/resource_index/packages"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "share/ament_index/resource_index/packages/probe").touch()
    (tmp_path / "share/probe/x.launch.py").write_text(LAUNCH_FILE)
    script = tmp_path / "lib/probe/script"
    script.write_text('#!/bin/sh\necho "$@"\nexit 7\n')
    script.chmod(0o755)
    environment = os.environ | {"AMENT_PREFIX_PATH": str(tmp_path), "USER": "me"}

    def run(*words):
        return subprocess.run(
            [ROS2, *words], cwd=tmp_path, env=environment, capture_output=True, text=True
        )

    return run


def test_launch_from_a_package_with_arguments(ros2):
    done = ros2("launch", "probe", "x.launch.py", "mode:=slow", "mode:=fast", "undeclared:=er")
    assert done.returncode == 0
    assert "[INFO] [launch.user]: mode is faster\n" in done.stdout


def test_launch_from_a_path(ros2):
    done = ros2("launch", "share/probe/x.launch.py", "mode:=fast")
    assert done.returncode == 0 and "mode is fast\n" in done.stdout


def test_show_args(ros2):
    done = ros2("launch", "probe", "x.launch.py", "--show-args")
    assert (done.returncode, done.stdout) == (0, SHOWN)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["no_such_package", "x.launch.py"], "no_such_package"),
        (["probe", "no.launch.py"], "no.launch.py"),
        (["no/such/path.launch.py"], "no/such/path.launch.py"),
        (["probe", "x.launch.py", "mode=fast"], "malformed launch argument 'mode=fast'"),
        (["probe", "x.launch.py", "mode:="], "malformed launch argument 'mode:='"),
        (["probe", "x.launch.py", "mode:=odd"], '"mode" provided value "odd" is not valid'),
    ],
)
def test_bad_input_is_one_line_and_status_1(ros2, words, message):
    done = ros2("launch", *words)
    lines = (done.stdout + done.stderr).splitlines()
    assert done.returncode == 1
    assert len([line for line in lines if message in line]) == 1
    assert not [line for line in lines if "Traceback" in line]


@pytest.mark.parametrize(
    ("line", "package"),
    [
        ("from launch.actions import ForLoop", "launch"),
        ("from launch_ros.actions import ComposableNodeContainer", "launch_ros"),
        ("import launch.substitutions; launch.substitutions.AnonName", "launch"),
        ("from launch_ros.actions import Node; Node(executable='x', emulate_tty=1)", "launch_ros"),
        ("from launch.frontend import Parser", "launch"),
    ],
)
def test_what_is_left_out_names_the_real_package(ros2, tmp_path, line, package):
    (tmp_path / "y.launch.py").write_text(line)
    done = ros2("launch", "y.launch.py")
    [error] = [text for text in (done.stdout + done.stderr).splitlines() if "ERROR" in text]
    assert done.returncode == 1
    assert "ros2_portable" in error and f"{package} of ROS 2 Jazzy" in error


def test_run_passes_arguments_and_exit_code(ros2):
    done = ros2("run", "probe", "script", "--ros-args", "-p", "a:=1", "-h")
    assert (done.returncode, done.stdout) == (7, "--ros-args -p a:=1 -h\n")
    prefixed = ros2("run", "--prefix", "echo run", "probe", "script", "x")
    assert prefixed.returncode == 0
    assert prefixed.stdout.startswith("run /") and prefixed.stdout.endswith("/script x\n")


def test_run_passes_signals(ros2, tmp_path):
    (tmp_path / "lib/probe/waits").write_text("#!/bin/sh\nkill -INT $$\n")
    (tmp_path / "lib/probe/waits").chmod(0o755)
    assert ros2("run", "probe", "waits").returncode == -signal.SIGINT


@pytest.mark.parametrize("words", [["no_such_package", "x"], ["probe", "no_such_executable"]])
def test_run_of_what_is_missing_is_one_line_and_status_1(ros2, words):
    done = ros2("run", *words)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
