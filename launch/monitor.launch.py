"""Show how the stack does: its paths and health as topics for RViz, and RViz.

ros2 launch multismolvla monitor.launch.py                # on any host of the same ROS domain
ros2 launch multismolvla monitor.launch.py rviz:=false    # the topics, for an RViz elsewhere
ros2 launch multismolvla monitor.launch.py rviz:=false web:=true    # a page for a browser

`bringup.launch.py rviz:=true`, `monitor:=topics` and `monitor:=web` include this.
"""

from pathlib import Path

import yaml
from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    GroupAction,
    IncludeLaunchDescription,
    OpaqueFunction,
)
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node, PushRosNamespace, SetParameter
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

PACKAGE = "multismolvla"


def share(*parts):
    return PathJoinSubstitution([FindPackageShare(PACKAGE), *parts])


def arguments():
    yield DeclareLaunchArgument(
        "namespace", default_value="", description="Namespace of the stack that is watched."
    )
    yield DeclareLaunchArgument(
        "use_sim_time",
        default_value="false",
        choices=["true", "false"],
        description="Take the time from /clock.",
    )
    yield DeclareLaunchArgument(
        "rviz", default_value="true", choices=["true", "false"], description="Open RViz."
    )
    yield DeclareLaunchArgument(
        "web",
        default_value="false",
        choices=["true", "false"],
        description="Serve a page for a browser.",
    )
    yield DeclareLaunchArgument(
        "web_host",
        default_value="127.0.0.1",
        description="Address of that page; anyone who can open it can drive the arm.",
    )
    yield DeclareLaunchArgument(
        "web_port", default_value="8080", description="Port of that page; 0 takes a free one."
    )
    yield DeclareLaunchArgument(
        "tf",
        default_value="false",
        choices=["true", "false"],
        description="Publish the arm's frames from this host; bringup.launch.py does by itself.",
    )
    yield DeclareLaunchArgument(
        "urdf",
        default_value=share("urdf", "so101.urdf"),
        description="Robot description; edit a copy for the poses of your own cameras.",
    )
    yield DeclareLaunchArgument(
        "streams_file",
        default_value=share("config", "streams.yaml"),
        description="Stream table: every camera stream with its size and rate.",
    )
    yield DeclareLaunchArgument(
        "log_level",
        default_value="info",
        choices=["debug", "info", "warn", "error", "fatal"],
        description="Lowest severity that the nodes log.",
    )


def is_installed(package):
    try:
        get_package_prefix(package)
    except PackageNotFoundError:
        return False
    return True


def watcher(executable, *parameters, **options):
    """A node of this package with its own YAML; it comes back when it crashes."""
    return Node(
        package=PACKAGE,
        executable=executable,
        name=executable,
        output="screen",
        parameters=[
            share("config", f"{executable}.yaml"),
            {"streams_file": LaunchConfiguration("streams_file")},
            *parameters,
        ],
        arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
        additional_env={"MULTISMOLVLA_SUPERVISED": "1"},
        respawn=True,
        respawn_delay=1.0,
        **options,
    )


def watchers(context):
    """The monitor, and what groups diagnostics where ROS has it."""
    urdf = LaunchConfiguration("urdf").perform(context)
    has_publisher = is_installed("robot_state_publisher")
    nodes = [watcher("monitor_node", {"urdf": "" if has_publisher else urdf})]
    if is_installed("diagnostic_aggregator"):
        nodes.append(
            Node(
                package="diagnostic_aggregator",
                executable="aggregator_node",
                name="diagnostic_aggregator",
                parameters=[groups(context)],
            )
        )
    return nodes


def groups(context):
    """The aggregator's groups, for the nodes of this namespace: another stack has its own."""
    file = share("config", "diagnostics_aggregator.yaml").perform(context)
    settings = yaml.safe_load(Path(file).read_text())["/**"]["ros__parameters"]
    namespace = LaunchConfiguration("namespace").perform(context).strip("/")
    return inside(settings, f"/{namespace}") if namespace else settings


def inside(settings, namespace):
    """Parameters of the aggregator with its path and the names it looks for in a namespace."""
    changed = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            changed[key] = inside(value, namespace)
        elif key == "startswith":
            changed[key] = [namespace + name for name in value]
        elif key == "path" and "pub_rate" in settings:
            changed[key] = value + namespace
        else:
            changed[key] = value
    return changed


def generate_launch_description():
    frames = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(share("launch", "frames.launch.py")),
        launch_arguments=[("urdf", LaunchConfiguration("urdf"))],
        condition=IfCondition(LaunchConfiguration("tf")),
    )
    web = watcher(
        "web_monitor",
        {
            "urdf": LaunchConfiguration("urdf"),
            "host": ParameterValue(LaunchConfiguration("web_host"), value_type=str),
            "port": ParameterValue(LaunchConfiguration("web_port"), value_type=int),
        },
        condition=IfCondition(LaunchConfiguration("web")),
    )
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        name="rviz2",
        arguments=["-d", share("config", "multismolvla.rviz")],
        condition=IfCondition(LaunchConfiguration("rviz")),
    )
    return LaunchDescription(
        [
            *arguments(),
            GroupAction(
                [
                    SetParameter(
                        "use_sim_time",
                        ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool),
                    ),
                    PushRosNamespace(LaunchConfiguration("namespace")),
                    OpaqueFunction(function=watchers),
                    frames,
                    rviz,
                    web,
                ]
            ),
        ]
    )
