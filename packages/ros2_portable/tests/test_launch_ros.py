"""Nodes as launch_ros starts them: the command line and the parameters that reach the node."""

import json
import os
import sys

import pytest
import yaml
from launch import LaunchDescription, LaunchService
from launch.actions import GroupAction, LogInfo, SetLaunchConfiguration
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node, PushRosNamespace, SetParameter, SetRemap
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import ExecutableInPackage, FindPackageShare

# Writes its arguments, and after them the contents of its parameter files, to a file.
RECORDER = """#!{python}
import json, sys
files = [b for a, b in zip(sys.argv, sys.argv[1:]) if a == "--params-file"]
with open({out!r}, "a") as out:
    print(json.dumps([sys.argv[1:], [open(name).read() for name in files]]), file=out)
"""


class Package:
    """A package `probe` in an ament index of its own, with an executable `recorder`."""

    def __init__(self, prefix):
        self.prefix, self.out = prefix, prefix / "out"
        for folder in ("lib/probe", "share/probe", "share/ament_index/resource_index/packages"):
            (prefix / folder).mkdir(parents=True)
        (prefix / "share/ament_index/resource_index/packages/probe").touch()
        self.add_executable("recorder", RECORDER.format(python=sys.executable, out=str(self.out)))

    def add_executable(self, name, text):
        path = self.prefix / "lib/probe" / name
        path.write_text(text)
        path.chmod(0o755)

    def add_file(self, name, text):
        path = self.prefix / "share/probe" / name
        path.write_text(text)
        return str(path)

    def records(self):
        lines = self.out.read_text().splitlines()
        return [
            (args, [yaml.safe_load(f) for f in files]) for args, files in map(json.loads, lines)
        ]


@pytest.fixture
def package(tmp_path, monkeypatch):
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    return Package(tmp_path)


def run(*entities):
    service = LaunchService()
    service.include_launch_description(LaunchDescription(entities))
    return service.run()


def recorder(**options):
    return Node(package="probe", executable="recorder", **options)


def test_order_of_the_command_line(package):
    file = package.add_file("a.yaml", "/**: {ros__parameters: {wild: 1}}")
    node = recorder(
        name="eye",
        namespace="left",
        parameters=[PathJoinSubstitution([FindPackageShare("probe"), "a.yaml"]), {"b": 2}],
        remappings=[("in", LaunchConfiguration("topic"))],
        arguments=["--flag", "--ros-args", "--log-level", "warn"],
    )
    assert run(SetLaunchConfiguration("topic", "camera"), node) == 0
    [(arguments, files)] = package.records()
    assert arguments[:4] == ["--flag", "--ros-args", "--log-level", "warn"]
    assert arguments[4:9] == ["--ros-args", "-r", "__node:=eye", "-r", "__ns:=/left"]
    assert arguments[9:12] == ["--params-file", file, "--params-file"]
    assert arguments[13:] == ["-r", "in:=camera"]
    assert files[1] == {"/left/eye": {"ros__parameters": {"b": 2}}}
    assert node.node_name == "/left/eye"


def test_what_is_not_given_is_not_passed(package):
    run(recorder(parameters=[{"a": 1}]))
    [(arguments, files)] = package.records()
    assert arguments[:2] == ["--ros-args", "--params-file"] and len(arguments) == 3
    assert files == [{"/**": {"ros__parameters": {"a": 1}}}]


def test_parameter_values(package):
    ns = LaunchConfiguration("number")
    values = {
        "text": "1",
        "from substitution": ns,
        "as text": ParameterValue(ns, value_type=str),
        "as float": ParameterValue(ns, value_type=float),
        "joined": ["n", ns],
        "nested": {"deep": {"er": True}},
        "numbers": [1, 2.5],
        "texts": ["1", "2"],
        "listed": [[ns], [ns]],
        "empty": ParameterValue("", value_type=str),
        "empty argument": LaunchConfiguration("nothing"),
        "empty as text": ParameterValue(LaunchConfiguration("nothing"), value_type=str),
    }
    nothing = SetLaunchConfiguration("nothing", "")
    assert run(SetLaunchConfiguration("number", "42"), nothing, recorder(parameters=[values])) == 0
    [(_, [file])] = package.records()
    assert file["/**"]["ros__parameters"] == {
        "text": "1",
        "from substitution": 42,
        "as text": "42",
        "as float": 42.0,
        "joined": "n42",
        "nested.deep.er": True,
        "numbers": [1.0, 2.5],
        "texts": ["1", "2"],
        "listed": [42, 42],
        "empty": "",
        "empty argument": "",
        "empty as text": "",
    }


def test_scoped_namespace_parameters_and_remaps(package):
    run(
        GroupAction(
            [
                PushRosNamespace("robot"),
                SetParameter("depth", 3),
                SetParameter("use_sim_time", True),
                SetRemap("in", "out"),
                GroupAction([PushRosNamespace("arm"), recorder(name="inner")]),
                recorder(name="absolute", namespace="/alone"),
            ]
        ),
        recorder(name="outside"),
        GroupAction([PushRosNamespace(""), recorder(name="root")]),
    )
    arguments = {args[2].partition(":=")[2]: args[3:] for args, _ in package.records()}
    shared = ["-p", "depth:=3", "-p", "use_sim_time:=True"]
    assert arguments["inner"] == ["-r", "__ns:=/robot/arm", *shared, "-r", "in:=out"]
    assert arguments["absolute"] == ["-r", "__ns:=/alone", *shared, "-r", "in:=out"]
    assert arguments["outside"] == []
    assert arguments["root"] == ["-r", "__ns:=/"]


def test_parameter_file_that_is_missing_is_skipped_with_a_warning(package, capfd):
    assert run(recorder(parameters=["/no/such.yaml"])) == 0
    assert "Parameter file path is not a file: /no/such.yaml" in capfd.readouterr().out
    assert package.records()[0][0] == ["--ros-args"]


def test_find_package(package):
    finds = [
        FindPackageShare("probe"),
        ExecutableInPackage(package="probe", executable="recorder"),
    ]
    prefix = str(package.prefix)
    expected = [f"{prefix}/share/probe", f"{prefix}/lib/probe/recorder"]
    assert [each.perform(None) for each in finds] == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"package": "no_such_package"}, "package 'no_such_package' not found"),
        ({"executable": "no_such_executable"}, "executable 'no_such_executable' not found"),
        ({"name": "no name"}, "no name"),
        ({"namespace": "a b"}, "a b"),
        ({"parameters": [{"a": LaunchConfiguration("missing")}]}, "'missing' does not exist"),
        ({"parameters": [{"a": [1, "x"]}]}, ""),
        ({"parameters": [{"a": None}]}, ""),
    ],
)
def test_bad_input_is_one_line_and_status_1(package, capfd, options, message):
    # Some of it is refused by the constructor, which a launch file's error line reports.
    def make(context):
        return [Node(**{"package": "probe", "executable": "recorder"} | options)]

    from launch.actions import OpaqueFunction

    assert run(OpaqueFunction(function=make), LogInfo(msg="not reached")) == 1
    printed = capfd.readouterr()
    errors = [line for line in (printed.out + printed.err).splitlines() if "Caught" in line]
    assert len(errors) == 1 and message in errors[0]
    assert "Traceback" not in printed.out + printed.err and "not reached" not in printed.out
    assert not package.out.exists()


@pytest.mark.parametrize("text", ["a: [", "a: 1", "- a", "/**: {parameters: {a: 1}}"])
def test_a_bad_parameter_file_is_named(package, capfd, text):
    path = package.add_file("bad.yaml", text)
    assert run(recorder(parameters=[path])) == 1
    errors = [line for line in capfd.readouterr().out.splitlines() if "ERROR" in line]
    assert len(errors) == 1 and path in errors[0]


REAL_NODE = """#!{python}
import rclpy
rclpy.init()
node = rclpy.create_node("unnamed", automatically_declare_parameters_from_overrides=True)
print(node.get_fully_qualified_name(), node.resolve_topic_name("in"),
      node.get_logger().get_effective_level().name, node.get_parameter("own").value,
      node.get_parameter("wild").value, node.get_parameter("use_sim_time").value)
"""


def test_a_real_node_gets_it_all(package, capfd):
    package.add_executable("real", REAL_NODE.format(python=sys.executable))
    file = package.add_file(
        "p.yaml", "/**: {ros__parameters: {wild: 1, own: 1}}\n/r/eye: {ros__parameters: {own: 2}}"
    )
    run(
        GroupAction(
            [
                PushRosNamespace("r"),
                SetParameter("use_sim_time", True),
                Node(
                    package="probe",
                    executable="real",
                    name="eye",
                    output="screen",
                    parameters=[file],
                    remappings=[("in", "camera")],
                    arguments=["--ros-args", "--log-level", "warn"],
                ),
            ]
        )
    )
    assert "] /r/eye /r/camera WARN 2 1 True\n" in capfd.readouterr().out


def test_parameter_files_of_dictionaries_are_private_to_the_launch(package):
    run(recorder(parameters=[{"a": 1}]))
    path = package.records()[0][0][-1]
    assert os.path.basename(os.path.dirname(path)).startswith("launch_params_")
