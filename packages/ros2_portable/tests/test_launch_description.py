"""Arguments, substitutions, conditions, scopes and includes of launch descriptions."""

import os

import pytest
from launch import LaunchDescription, LaunchService
from launch.actions import (
    DeclareLaunchArgument,
    GroupAction,
    IncludeLaunchDescription,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
    SetLaunchConfiguration,
    Shutdown,
    TimerAction,
)
from launch.conditions import IfCondition, UnlessCondition
from launch.event_handlers import OnShutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import (
    EnvironmentVariable,
    LaunchConfiguration,
    PathJoinSubstitution,
    PythonExpression,
    TextSubstitution,
    as_text,
)


class Probe:
    """Runs entities and collects the texts of substitutions on the way."""

    def __init__(self):
        self.seen = []

    def see(self, *substitution, **options):
        def note(context):
            self.seen.append(as_text(context, substitution))

        return OpaqueFunction(function=note, **options)

    def run(self, *entities):
        service = LaunchService()
        service.include_launch_description(LaunchDescription(entities))
        return service.run()


@pytest.fixture
def probe():
    return Probe()


def test_substitutions(probe, monkeypatch):
    monkeypatch.setenv("PROBE", "from environment")
    sim = LaunchConfiguration("sim")
    cases = {
        "plain": TextSubstitution(text="plain"),
        "true": sim,
        "fallback": LaunchConfiguration("missing", default="fallback"),
        "from environment": EnvironmentVariable("PROBE"),
        "else": EnvironmentVariable("PROBE_MISSING", default_value="else"),
        "a/true/b": PathJoinSubstitution(["a", sim, "b"]),
        "7": PythonExpression(["3 + 4 if '", sim, "' == 'true' else 0"]),
        "2": PythonExpression("int(sqrt(4))"),
    }
    set_sim = SetLaunchConfiguration("sim", "true")
    assert probe.run(set_sim, *(probe.see(each) for each in cases.values())) == 0
    assert probe.seen == list(cases)


@pytest.mark.parametrize(
    "entity",
    [
        LogInfo(msg=LaunchConfiguration("missing")),
        LogInfo(msg=EnvironmentVariable("PROBE_MISSING")),
        LogInfo(msg=PythonExpression("1 +")),
        LogInfo(msg="x", condition=IfCondition("perhaps")),
        DeclareLaunchArgument("required"),
        GroupAction([SetLaunchConfiguration("a", "z"), DeclareLaunchArgument("a", choices=["x"])]),
    ],
)
def test_bad_input_is_one_line_and_status_1(probe, capfd, entity):
    assert probe.run(entity, probe.see("not reached")) == 1
    printed = capfd.readouterr()
    errors = [line for line in (printed.out + printed.err).splitlines() if "Caught" in line]
    assert len(errors) == 1
    assert "Traceback" not in printed.out + printed.err
    assert probe.seen == []


def test_conditions(probe):
    set_mode = SetLaunchConfiguration("mode", "fast")
    mode = LaunchConfiguration("mode")
    conditions = {
        "if": IfCondition(PythonExpression(["'", mode, "' == 'fast'"])),
        "if 0": IfCondition("0"),
        "unless": UnlessCondition("False"),
    }
    probe.run(set_mode, *(probe.see(key, condition=each) for key, each in conditions.items()))
    assert probe.seen == ["if", "unless"]


def test_group_scopes_configurations_and_environment(probe):
    look = [LaunchConfiguration("a"), EnvironmentVariable("PROBE", default_value="-")]
    inside = [
        SetLaunchConfiguration("a", "inner"),
        SetEnvironmentVariable("PROBE", "set"),
        probe.see(*look),
    ]
    probe.run(
        SetLaunchConfiguration("a", "outer"),
        GroupAction(inside),
        probe.see(*look),
        GroupAction([SetLaunchConfiguration("a", "kept")], scoped=False),
        probe.see(*look),
    )
    assert probe.seen == ["innerset", "outer-", "kept-"]
    assert "PROBE" not in os.environ


def test_group_launch_configurations_are_set_inside(probe):
    group = GroupAction([probe.see(LaunchConfiguration("a"))], launch_configurations={"a": "1"})
    assert probe.run(group) == 0
    assert probe.seen == ["1"]


INCLUDED = """
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, SetLaunchConfiguration
from launch.substitutions import LaunchConfiguration

def generate_launch_description():
    return LaunchDescription([
        DeclareLaunchArgument("speed", default_value="1"),
        DeclareLaunchArgument("given", default_value="no"),
        SetLaunchConfiguration("result", [LaunchConfiguration(n) for n in ("speed", "given")]),
    ])
"""


def test_include_passes_arguments(probe, tmp_path):
    path = tmp_path / "included.launch.py"
    path.write_text(INCLUDED)
    source = PythonLaunchDescriptionSource([str(tmp_path), "/included.launch.py"])
    include = IncludeLaunchDescription(source, launch_arguments={"given": "yes"}.items())
    assert probe.run(include, probe.see(LaunchConfiguration("result"))) == 0
    assert probe.seen == ["1yes"]


def test_launch_arguments_are_found_before_the_launch(tmp_path):
    path = tmp_path / "included.launch.py"
    path.write_text(INCLUDED)
    conditional = GroupAction([DeclareLaunchArgument("b")], condition=IfCondition("true"))
    description = LaunchDescription(
        [
            DeclareLaunchArgument("a", description="First", choices=["x", "y"]),
            DeclareLaunchArgument("a", description="again"),
            conditional,
            IncludeLaunchDescription(PythonLaunchDescriptionSource(str(path))),
        ]
    )
    found = description.get_launch_arguments()
    assert [each.name for each in found] == ["a", "b", "speed", "given"]
    assert found[0].description == "First. Valid choices are: ['x', 'y']"
    assert [each._conditionally_included for each in found[:2]] == [False, True]


def test_a_broken_launch_file_is_named_with_its_line(probe, capfd, tmp_path):
    path = tmp_path / "broken.launch.py"
    path.write_text("\n\nraise RuntimeError('boom')\n")
    assert probe.run(IncludeLaunchDescription(PythonLaunchDescriptionSource(str(path)))) == 1
    assert "boom" in capfd.readouterr().out


def test_opaque_function_may_return_entities(probe):
    function = lambda context, name, *, value: [SetLaunchConfiguration(name, value)]  # noqa: E731
    action = OpaqueFunction(function=function, args=["a"], kwargs={"value": "made"})
    probe.run(action, probe.see(LaunchConfiguration("a")))
    assert probe.seen == ["made"]


def test_timer_comes_later_and_shutdown_cancels_it(probe):
    never = TimerAction(period=60.0, actions=[probe.see("never")])
    soon = TimerAction(period=0.01, actions=[probe.see("soon"), Shutdown(reason="test")])
    handler = RegisterEventHandler(OnShutdown(on_shutdown=[probe.see("shutdown")]))
    assert probe.run(handler, never, soon, probe.see("now")) == 0
    assert probe.seen == ["now", "soon", "shutdown"]
