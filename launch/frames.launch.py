"""Publish the arm's frames: robot_state_publisher where it is installed, else tf_broadcaster.

ros2 launch multismolvla frames.launch.py    # bringup.launch.py includes it
"""

from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

PACKAGE = "multismolvla"


def share(*parts):
    return PathJoinSubstitution([FindPackageShare(PACKAGE), *parts])


def is_installed(package):
    try:
        get_package_prefix(package)
    except PackageNotFoundError:
        return False
    return True


def publisher(context):
    """The node that publishes frames; both read the same description."""
    urdf = LaunchConfiguration("urdf").perform(context)
    process = {"output": "screen", "respawn": True, "respawn_delay": 1.0}
    if is_installed("robot_state_publisher"):
        description = ParameterValue(Path(urdf).read_text(), value_type=str)
        return [
            Node(
                package="robot_state_publisher",
                executable="robot_state_publisher",
                name="robot_state_publisher",
                parameters=[{"robot_description": description}],
                **process,
            )
        ]
    return [
        Node(
            package=PACKAGE,
            executable="tf_broadcaster",
            name="tf_broadcaster",
            parameters=[
                share("config", "tf_broadcaster.yaml"),
                {"urdf": ParameterValue(urdf, value_type=str)},
            ],
            arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
            additional_env={"MULTISMOLVLA_SUPERVISED": "1"},
            **process,
        )
    ]


def generate_launch_description():
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "urdf",
                default_value=share("urdf", "so101.urdf"),
                description="Robot description; edit a copy for the poses of your own cameras.",
            ),
            DeclareLaunchArgument(
                "log_level",
                default_value="info",
                choices=["debug", "info", "warn", "error", "fatal"],
                description="Lowest severity that the node logs.",
            ),
            OpaqueFunction(function=publisher),
        ]
    )
