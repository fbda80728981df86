"""Bring up the whole stack: cameras, sensor nodes, segmentation, policy and arm.

ros2 launch multismolvla bringup.launch.py                          # simulated arm, trained policy
ros2 launch multismolvla bringup.launch.py policy:=expert           # scripted, knows the scene
ros2 launch multismolvla bringup.launch.py world:=libero            # LIBERO and its Panda
ros2 launch multismolvla bringup.launch.py sim:=false robot_port:=/dev/ttyACM0 policy:=NAME
ros2 launch multismolvla bringup.launch.py rgb_topic:=nowhere       # a dead RGB camera
ros2 launch multismolvla bringup.launch.py faults:=config/faults/rgb_loss.yaml
ros2 launch multismolvla bringup.launch.py record:=out/bag
ros2 launch multismolvla bringup.launch.py --show-args              # every argument, explained
"""

import json
import os
import tempfile
from pathlib import Path

from launch import LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    GroupAction,
    IncludeLaunchDescription,
    OpaqueFunction,
    SetEnvironmentVariable,
)
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.logging import get_logger
from launch.substitutions import (
    EnvironmentVariable,
    LaunchConfiguration,
    PathJoinSubstitution,
    PythonExpression,
)
from launch_ros.actions import Node, PushRosNamespace, SetParameter
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from multismolvla.modalities.registry import OWN, modalities
from multismolvla.shared_memory import is_ours, shortage
from multismolvla.sim.libero.tasks import DEFAULT_TASK as LIBERO_TASK
from multismolvla.stack.settings import or_shipped
from multismolvla.streams import StreamTableError, load_stream_table

PACKAGE = "multismolvla"
# Kinds of image of this package, and all kinds that cameras send.
OWN_KINDS = [modality.name for modality in OWN]
CAMERA_KINDS = [modality.name for modality in modalities() if not modality.labels]

DEMO_TASK = "put the red cube in the bin"
# Namespaces of the cameras: that of the scene first, then that of the wrist.
VIEWS = {"tabletop": ("", "wrist"), "libero": ("agentview", "wrist")}
# Where the simulated arm offers its serial port: one folder per user and ROS domain, in it one per
# namespace, so that two stacks on one machine do not meet.
SIMULATED_PORTS = os.path.join(
    tempfile.gettempdir(), f"multismolvla_{os.getuid()}_{os.environ.get('ROS_DOMAIN_ID', '0')}"
)


# A process comes back when it ends. A wrong configuration is reported by the node itself instead of
# crashing again and again.
PROCESS = {
    "output": "screen",
    "additional_env": {"MULTISMOLVLA_SUPERVISED": "1"},
    "respawn": True,
    "respawn_delay": 1.0,
}


def config(name):
    return PathJoinSubstitution([FindPackageShare(PACKAGE), "config", name])


def when(*expression):
    """Condition on a Python expression over launch arguments."""
    return IfCondition(PythonExpression(list(expression)))


def by_world(tabletop, libero):
    """One text in the world `tabletop`, another in `libero`."""
    world = LaunchConfiguration("world")
    return PythonExpression(["'", libero, "' if '", world, "' == 'libero' else '", tabletop, "'"])


def flag(name, default, description):
    return DeclareLaunchArgument(
        name, default_value=default, choices=["true", "false"], description=description
    )


def node(executable, *parameters, name=None, file=None, **options):
    """A node of this package with its own YAML; it comes back when it crashes."""
    return Node(
        package=PACKAGE,
        executable=executable,
        name=name or executable,
        parameters=[config(file or f"{executable}.yaml"), *parameters],
        arguments=ros_args(),
        **PROCESS,
        **options,
    )


def ros_args():
    return ["--ros-args", "--log-level", LaunchConfiguration("log_level")]


def transport(context):
    """The Fast DDS profile: the shipped one where the shared memory is enough, one without else."""
    shipped = Path(config("fastdds.xml").perform(context))
    chosen = context.environment.get("FASTRTPS_DEFAULT_PROFILES_FILE")
    if not is_ours(chosen, shipped):
        return []
    given = context.launch_configurations
    processes = 4 if given["composition"] == "process" else 11
    processes += sum(given[name] not in ("none", "") for name in ("monitor", "faults", "record"))
    problem = shortage(processes)
    profile = shipped.with_name("fastdds_udp.xml") if problem else shipped
    if problem:
        get_logger("bringup").warning(problem)
    return [SetEnvironmentVariable("FASTRTPS_DEFAULT_PROFILES_FILE", str(profile))]


def recording_info(context):
    """Publishes the launch arguments and the nodes' parameters for the recorder."""
    arguments = json.dumps(dict(context.launch_configurations))
    return [
        node(
            "recording_info",
            {
                "launch_arguments": ParameterValue(arguments, value_type=str),
                "streams_file": LaunchConfiguration("streams_file"),
            },
        )
    ]


def if_faults(then, otherwise):
    """One text where the launch argument `faults` is given, another where it is not."""
    return PythonExpression(
        ["'", then, "' if '", LaunchConfiguration("faults"), "' != '' else '", otherwise, "'"]
    )


def views(context):
    """The namespaces of the cameras that are brought up."""
    scene, wrist = VIEWS[LaunchConfiguration("world").perform(context)]
    return (scene, wrist) if LaunchConfiguration("wrist").perform(context) == "true" else (scene,)


def raw_topic(view, kind):
    """The argument that names the raw images of a camera."""
    return LaunchConfiguration(f"wrist_{kind}_topic" if view == "wrist" else f"{kind}_topic")


def inside(view, topic):
    """A topic that the nodes of a view name, as a node outside of their namespace names it."""
    return PythonExpression(
        ["'", topic, "' if '", topic, f"'.startswith('/') else '{view}/' + '", topic, "'"]
    )


def injector(context):
    """Takes the raw topics that the sensor nodes would take, and gives them its own."""
    faults = LaunchConfiguration("faults").perform(context)
    if not faults:
        return []
    remappings = []
    for kind in CAMERA_KINDS:
        for view in VIEWS[LaunchConfiguration("world").perform(context)]:
            raw = raw_topic(view, kind)
            topic = f"{kind}/image_raw"
            remappings.append((f"{view}/{topic}", inside(view, raw)) if view else (topic, raw))
    scenario = "" if faults == "live" else faults
    return [
        node(
            "fault_injector",
            {
                "scenario": ParameterValue(scenario, value_type=str),
                "streams_file": LaunchConfiguration("streams_file"),
            },
            remappings=remappings,
        )
    ]


def sensors(view):
    """The sensor nodes of one view, each with its parameters and its remapping."""
    prefix = f"{view}/" if view else ""
    for kind in OWN_KINDS:
        parameters = {
            "stream": f"{prefix}{kind}",
            "streams_file": LaunchConfiguration("streams_file"),
        }
        raw = raw_topic(view, kind)
        if kind == "segmentation":
            parameters["backend"] = LaunchConfiguration("segmentation")
            # Only the simulator's labels come as raw images.
            raw = "segmentation/image_raw"
        remapping = (f"{kind}/image_raw", if_faults(f"{kind}/faulty/image_raw", raw))
        yield f"{kind}_node", parameters, remapping


def file_of(executable):
    """Name of the parameter file of a sensor node."""
    if executable == "segmentation_node":
        # LIBERO's scenes have a network of their own.
        return by_world("segmentation_node.yaml", "libero/segmentation_node.yaml")
    return f"{executable}.yaml"


def in_one_process(*names):
    """A process with the sensor nodes of these views: the top camera's view has no name."""
    words = []
    for view in names:
        for executable, parameters, (topic, other) in sensors(view):
            words += ["--node", executable, "--params-file", config(file_of(executable))]
            words += ["-r", f"__ns:=/{view}"] if view else []
            for name, value in parameters.items():
                words += ["-p", [f"{name}:=", value]]
            words += ["-r", [f"{topic}:=", other]]
    return container(words)


def container(words):
    """A process with the sensor nodes that the words describe."""
    return Node(
        package=PACKAGE, executable="sensor_container", arguments=[*words, *ros_args()], **PROCESS
    )


def others(context):
    """A process with the nodes of the table's streams whose kind another package describes."""
    try:
        file = LaunchConfiguration("streams_file").perform(context)
        table = load_stream_table(or_shipped(file))
    except StreamTableError:
        return []  # Every node that reads the table reports it.
    words = []
    for stream in table:
        if stream.kind in OWN_KINDS or stream.view not in views(context):
            continue
        words += ["--node", f"{stream.kind}_node", "-p", f"stream:={stream.name}"]
        words += ["-p", ["streams_file:=", LaunchConfiguration("streams_file")]]
        words += ["-r", f"__ns:=/{stream.view}"] if stream.view else []
        raw = raw_topic(stream.view, stream.kind)
        other = if_faults(f"{stream.kind}/faulty/image_raw", raw)
        words += ["-r", [f"{stream.kind}/image_raw:=", other]]
    return [container(words)] if words else []


def each_in_its_own(view):
    """The sensor nodes of one view, a process for each."""
    nodes = [
        node(executable, parameters, file=file_of(executable), remappings=[remapping])
        for executable, parameters, remapping in sensors(view)
    ]
    return GroupAction([PushRosNamespace(view), *nodes] if view else nodes)


def sensing(context):
    """The sensor nodes of all views, in one process or each in its own."""
    if LaunchConfiguration("composition").perform(context) == "process":
        return [in_one_process(*views(context))]
    return [each_in_its_own(view) for view in views(context)]


def check(context):
    """Refuse what one world has and the other lacks."""
    given = context.launch_configurations
    if given["world"] == "libero" and given["sim"] == "false" and given["part"] != "policy":
        raise RuntimeError("world:=libero is a simulation; sim:=false is for a real SO-101")
    if given["world"] == "libero" and given["monitor"] != "none":
        raise RuntimeError(f"monitor:={given['monitor']} shows an SO-101; world:=libero has none")


def arguments():
    # Before the arguments whose defaults follow from them.
    yield DeclareLaunchArgument(
        "world",
        default_value="tabletop",
        choices=list(VIEWS),
        description="Robot and scene: an SO-101 on its table, or LIBERO's Panda in LIBERO's "
        "scenes, which needs 'multismolvla libero setup'.",
    )
    yield flag("sim", "true", "Simulate the arm and its cameras; false drives a real arm.")
    yield DeclareLaunchArgument(
        "namespace", default_value="", description="Namespace of every node and relative topic."
    )
    yield DeclareLaunchArgument(
        "robot_port",
        default_value=PythonExpression(
            [
                f"'{SIMULATED_PORTS}' + ('/' + '",
                LaunchConfiguration("namespace"),
                "'.strip('/')).rstrip('/') + '/so101' if '",
                LaunchConfiguration("sim"),
                "' == 'true' else '/dev/ttyACM0'",
            ]
        ),
        description="Serial port of the arm's servo bus; in simulation, where it is offered.",
    )
    yield DeclareLaunchArgument(
        "calibration",
        default_value=PythonExpression(
            [
                "'",
                config("so101_sim_calibration.json"),
                "' if '",
                LaunchConfiguration("sim"),
                "' == 'true' else '",
                EnvironmentVariable("HOME", default_value="."),
                "/.ros/so101_calibration.json'",
            ]
        ),
        description="Calibration of the arm, a JSON file in LeRobot's format.",
    )
    yield DeclareLaunchArgument(
        "policy",
        default_value=by_world("small", "small-libero"),
        description="Policy that drives the arm: the trained model of the world (small), an "
        "installed policy (expert), the folder of a checkpoint, the hub id owner/name of one, or "
        "module:Class.",
    )
    yield DeclareLaunchArgument(
        "task",
        # A real arm does not start by itself.
        default_value=PythonExpression(
            [
                "'",
                by_world(DEMO_TASK, LIBERO_TASK),
                "' if '",
                LaunchConfiguration("sim"),
                "' == 'true' else ' '",
            ]
        ),
        description="Language instruction at start; a blank waits for one on the topic `task`, "
        "which is the default for a real arm.",
    )
    yield DeclareLaunchArgument(
        "seed",
        default_value="0",
        description="Seed of the simulated scene at start; of LIBERO its official place, or from "
        "50 on one of our own.",
    )
    yield DeclareLaunchArgument(
        "chunk_entry",
        default_value=by_world("nearest", "stamp"),
        choices=["nearest", "stamp"],
        description="Row at which a new chunk is merged: the one nearest to the current setpoint, "
        "or the one at its time stamp (stamp), which real-time chunking needs.",
    )
    yield DeclareLaunchArgument(
        "pose_check",
        default_value=PythonExpression(
            [
                "'",
                by_world("simulation", "none"),
                "' if '",
                LaunchConfiguration("sim"),
                "' == 'true' else 'none'",
            ]
        ),
        description="Masks images that do not fit the joints, such as those of a knocked "
        "camera: with the weights for the simulated cameras (simulation), not at all (none), or "
        "with a file of multismolvla pose-check.",
    )
    yield DeclareLaunchArgument(
        "part",
        default_value="all",
        choices=["all", "robot", "policy", "replay"],
        description="What runs on this host: all of it, the arm with its sensors, the policy, or "
        "for replay.launch.py all but arm and cameras.",
    )
    yield flag(
        "use_sim_time",
        by_world("false", "true"),
        "Take the time from /clock (the simulator publishes it); of LIBERO the default, so that it "
        "may be slower than real time.",
    )
    yield flag("rviz", "false", "Open RViz: the same as monitor:=rviz.")
    yield DeclareLaunchArgument(
        "monitor",
        default_value=PythonExpression(
            ["'rviz' if '", LaunchConfiguration("rviz"), "' == 'true' else 'none'"]
        ),
        choices=["none", "topics", "rviz", "web"],
        description="Monitor: none; the topics of monitor.launch.py, for an RViz on another host; "
        "these topics and RViz; or a page for a browser.",
    )
    yield DeclareLaunchArgument(
        "web_host",
        default_value="127.0.0.1",
        description="Address of the page of monitor:=web; whoever can open it can drive the arm.",
    )
    yield DeclareLaunchArgument(
        "web_port",
        default_value="8080",
        description="Port of the page of monitor:=web; 0 takes a free one.",
    )
    yield flag("tf", "true", "Publish the frames of the arm and its cameras; LIBERO has none.")
    yield DeclareLaunchArgument(
        "urdf",
        default_value=PathJoinSubstitution([FindPackageShare(PACKAGE), "urdf", "so101.urdf"]),
        description="Robot description; edit a copy for the poses of your own cameras.",
    )
    yield DeclareLaunchArgument(
        "log_level",
        default_value="info",
        choices=["debug", "info", "warn", "error", "fatal"],
        description="Lowest severity that the nodes log.",
    )
    yield DeclareLaunchArgument(
        "composition",
        default_value="process",
        choices=["process", "nodes"],
        description="All sensor nodes in one process, which is cheapest; or each in its own, so "
        "that a crash affects only one.",
    )
    yield flag("wrist", "true", "Bring up the wrist camera's sensor nodes.")
    for kind in CAMERA_KINDS:
        yield DeclareLaunchArgument(
            f"{kind}_topic",
            default_value=f"{kind}/image_raw",
            description=f"Raw {kind} images of the camera of the scene (of LIBERO relative to the "
            "namespace agentview), with camera_info beside them; a topic without a publisher is a "
            "dead sensor.",
        )
    for kind in CAMERA_KINDS:
        yield DeclareLaunchArgument(
            f"wrist_{kind}_topic",
            default_value=f"{kind}/image_raw",
            description=f"Raw {kind} images of the wrist camera, relative to the namespace wrist.",
        )
    yield DeclareLaunchArgument(
        "segmentation",
        default_value="network",
        choices=["network", "ground_truth", "transformers"],
        description="Where labels come from: the network that ships for the world, the simulator, "
        "or a transformers model (its name in segmentation_node.yaml).",
    )
    yield DeclareLaunchArgument(
        "faults",
        default_value="",
        description="Scenario of faults to run, a file such as config/faults/rgb_loss.yaml, or "
        "`live` to break sensors by parameters; empty puts nothing between cameras and stack.",
    )
    yield DeclareLaunchArgument(
        "record",
        default_value="",
        description="Folder of a new MCAP bag of everything, the configuration included; empty "
        "records nothing.",
    )
    yield DeclareLaunchArgument(
        "streams_file",
        default_value=config(by_world("streams.yaml", "libero/streams.yaml")),
        description="Stream table: every camera stream with its size and rate.",
    )


def generate_launch_description():
    on_robot = when("'", LaunchConfiguration("part"), "' != 'policy'")
    with_arm = when("'", LaunchConfiguration("part"), "' != 'replay'")
    recorded = when("'", LaunchConfiguration("record"), "' != ''")
    on_policy_host = when("'", LaunchConfiguration("part"), "' != 'robot'")
    monitored = when(
        "'",
        LaunchConfiguration("part"),
        "' != 'robot' and '",
        LaunchConfiguration("monitor"),
        "' != 'none'",
    )
    streams_file = {"streams_file": LaunchConfiguration("streams_file")}
    port = {"port": LaunchConfiguration("robot_port")}
    # A string even where it reads like a number or a boolean in YAML.
    task = {"task": ParameterValue(LaunchConfiguration("task"), value_type=str)}

    seed = {"seed": ParameterValue(LaunchConfiguration("seed"), value_type=int)}
    is_libero = ["'", LaunchConfiguration("world"), "' == 'libero'"]
    simulated = ["'", LaunchConfiguration("sim"), "' == 'true' and "]
    tabletop = node(
        "sim_node", task, port, streams_file, seed, condition=when(*simulated, "not ", *is_libero)
    )
    # The same robot to all others: the same name, topics and services. It needs no driver.
    libero = node(
        "libero_node",
        task,
        streams_file,
        seed,
        name="sim_node",
        file="libero/libero_node.yaml",
        condition=when(*simulated, *is_libero),
    )
    calibration = {"calibration": LaunchConfiguration("calibration")}
    driver = node("so101_driver", port, calibration, condition=when("not ", *is_libero))
    # Likewise: a folder may be named by a number.
    name = {"policy": ParameterValue(LaunchConfiguration("policy"), value_type=str)}
    joint_states = if_faults("faulty/joint_states", "joint_states")
    policy = node(
        "policy_node",
        task,
        streams_file,
        name,
        {"chunk_entry": LaunchConfiguration("chunk_entry")},
        {"pose_check": ParameterValue(LaunchConfiguration("pose_check"), value_type=str)},
        file=by_world("policy_node.yaml", "libero/policy_node.yaml"),
        remappings=[("joint_states", joint_states)],
    )
    monitor = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(
            PathJoinSubstitution([FindPackageShare(PACKAGE), "launch", "monitor.launch.py"])
        ),
        launch_arguments=[
            (
                name,
                PythonExpression(
                    ["'true' if '", LaunchConfiguration("monitor"), f"' == '{name}' else 'false'"]
                ),
            )
            for name in ("rviz", "web")
        ]
        # The frames come with the robot.
        + [("tf", "false")],
    )
    frames = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(
            PathJoinSubstitution([FindPackageShare(PACKAGE), "launch", "frames.launch.py"])
        ),
        condition=when("'", LaunchConfiguration("tf"), "' == 'true' and not ", *is_libero),
    )
    recorder = ExecuteProcess(
        cmd=["ros2", "bag", "record", "-s", "mcap", "-a", "-o", LaunchConfiguration("record")],
        output="screen",
        condition=recorded,
    )
    return LaunchDescription(
        [
            *arguments(),
            OpaqueFunction(function=check),
            OpaqueFunction(function=transport),
            GroupAction(
                [
                    SetParameter(
                        "use_sim_time",
                        ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool),
                    ),
                    PushRosNamespace(LaunchConfiguration("namespace")),
                    GroupAction(
                        [
                            GroupAction([tabletop, libero, driver], condition=with_arm),
                            OpaqueFunction(function=injector),
                            OpaqueFunction(function=sensing),
                            OpaqueFunction(function=others),
                            frames,
                        ],
                        condition=on_robot,
                    ),
                    GroupAction([policy], condition=on_policy_host),
                    GroupAction([OpaqueFunction(function=recording_info)], condition=recorded),
                ]
            ),
            GroupAction([monitor], condition=monitored),
            recorder,
        ]
    )
