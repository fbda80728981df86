"""Play a recorded bag to the live nodes, on the bag's clock, and report what they made of it.

ros2 launch multismolvla replay.launch.py bag:=out/bag
ros2 launch multismolvla replay.launch.py bag:=out/bag faults:=config/faults/rgb_loss.yaml
ros2 launch multismolvla replay.launch.py bag:=out/bag policy:=runs/mine/small out:=out/mine

Everything runs but the arm and its cameras. Their part is played by bag_player; what the stack does
is recorded into `out`, and `multismolvla replay` compares it with the recording and with a replay
in code of the same bag and the same faults.
"""

import sys
import time

from launch import LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
)
from launch.event_handlers import OnProcessExit
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

PACKAGE = "multismolvla"
# The command, wherever it was installed: on a ROS machine it is not on the path.
COMMAND = [
    sys.executable,
    "-c",
    "import sys; from multismolvla.cli import main; sys.exit(main())",
]


def share(*parts):
    return PathJoinSubstitution([FindPackageShare(PACKAGE), *parts])


def arguments():
    yield DeclareLaunchArgument("bag", description="Bag to play: its folder, or a file of it.")
    yield DeclareLaunchArgument(
        "policy",
        default_value="small",
        description="Policy to run: small, expert, or the folder of a checkpoint.",
    )
    yield DeclareLaunchArgument(
        "faults", default_value="", description="Scenario of faults to inject, a file."
    )
    yield DeclareLaunchArgument(
        "task", default_value=" ", description="Instruction, instead of those of the bag."
    )
    yield DeclareLaunchArgument(
        "out",
        default_value="out/live_replay",
        description="Folder of the report and of the recording.",
    )
    yield DeclareLaunchArgument("rate", default_value="1.0", description="Bag seconds per second.")
    yield DeclareLaunchArgument(
        "bag_namespace", default_value="", description="Namespace of the recorded topics."
    )
    yield DeclareLaunchArgument(
        "topics",
        default_value="",
        description="Topics of other stacks, NAME=TOPIC separated by blanks: streams, "
        "joint_states, task.",
    )
    yield DeclareLaunchArgument(
        "labels",
        default_value="network",
        choices=["network", "recorded"],
        description="Labels from the segmentation node, or those of the bag.",
    )
    yield DeclareLaunchArgument(
        "pose_check",
        default_value="none",
        description="Masks images that do not fit the joints: simulation for a bag of the "
        "simulated cameras, none, or a file of multismolvla pose-check.",
    )
    yield DeclareLaunchArgument(
        "streams_file",
        default_value=share("config", "streams.yaml"),
        description="Stream table: every camera stream with its size and rate.",
    )


def player():
    def text(name):
        return ParameterValue(LaunchConfiguration(name), value_type=str)

    given = {name: text(name) for name in ("bag", "task", "bag_namespace", "topics", "labels")}
    given["streams_file"] = LaunchConfiguration("streams_file")
    given["rate"] = ParameterValue(LaunchConfiguration("rate"), value_type=float)
    return Node(
        package=PACKAGE,
        executable="bag_player",
        name="bag_player",
        output="screen",
        parameters=[share("config", "bag_player.yaml"), given],
    )


def replay(context):
    values = {name: text.strip() for name, text in context.launch_configurations.items()}
    # A recorder writes no bag over another.
    recorded = f"{values['out']}/recorded_{time.strftime('%Y-%m-%d_%H-%M-%S')}"
    recorded_labels = values["labels"] == "recorded"
    stack = {
        "part": "replay",
        "sim": "false",
        "task": " ",
        "use_sim_time": "true",
        "segmentation": "ground_truth" if recorded_labels else "network",
        "policy": values["policy"],
        # The arm does not follow its commands here.
        "chunk_entry": "stamp",
        "faults": values["faults"],
        "pose_check": values["pose_check"],
        "streams_file": values["streams_file"],
        "record": recorded,
    }
    options = {
        "--policy": values["policy"],
        "--live": recorded,
        "--out": values["out"],
        "--namespace": values["bag_namespace"],
        "--labels": values["labels"],
        "--task": values["task"],
        "--streams": values["streams_file"],
        "--faults": values["faults"],
        "--pose-check": values["pose_check"],
    }
    command = [*COMMAND, "replay", values["bag"]]
    command += [word for key, value in options.items() if value for word in (key, value)]
    if values["topics"]:
        command += ["--topics", *values["topics"].split()]
    playing = player()
    report = ExecuteProcess(cmd=command, output="screen")

    def after_playing(event, _):
        if event.returncode:
            return Shutdown(reason="the bag could not be played")
        return report

    return [
        RegisterEventHandler(OnProcessExit(target_action=playing, on_exit=after_playing)),
        RegisterEventHandler(
            OnProcessExit(target_action=report, on_exit=[Shutdown(reason="reported")])
        ),
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource(share("launch", "bringup.launch.py")),
            launch_arguments=stack.items(),
        ),
        playing,
    ]


def generate_launch_description():
    return LaunchDescription([*arguments(), OpaqueFunction(function=replay)])
