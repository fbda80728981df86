"""The actions of a launch description."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from ros2_portable import outside

from .entities import Action
from .event_handlers import EventHandler, ProcessExited
from .execute_process import ExecuteProcess  # noqa: F401
from .launch_context import LaunchContext
from .launch_description_sources import LaunchDescriptionSource
from .logging import get_logger
from .substitutions import Text, as_text

__getattr__ = outside(__name__)


@dataclass(eq=False)
class SetLaunchConfiguration(Action):
    """Set a launch configuration."""

    name: Text
    value: Text

    def execute(self, context: LaunchContext) -> None:
        name, value = as_text(context, self.name), as_text(context, self.value)
        context.launch_configurations[name] = value


@dataclass(eq=False)
class SetEnvironmentVariable(Action):
    """Set an environment variable for what is launched after this."""

    name: Text
    value: Text

    def execute(self, context: LaunchContext) -> None:
        context.environment[as_text(context, self.name)] = as_text(context, self.value)


@dataclass(eq=False, kw_only=True)
class LogInfo(Action):
    """Log a message."""

    msg: Text

    def execute(self, context: LaunchContext) -> None:
        get_logger("launch.user").info(as_text(context, self.msg))


@dataclass(eq=False, kw_only=True)
class OpaqueFunction(Action):
    """Call `function(context, *args, **kwargs)`, which may return entities to visit."""

    function: Callable[..., Any]
    args: Iterable[Any] | None = None
    kwargs: Mapping[str, Any] | None = None

    def execute(self, context: LaunchContext) -> Any:
        return self.function(context, *(self.args or ()), **(self.kwargs or {}))


@dataclass(eq=False)
class RegisterEventHandler(Action):
    """Register an event handler."""

    event_handler: EventHandler

    def execute(self, context: LaunchContext) -> None:
        context.register_event_handler(self.event_handler)


@dataclass(eq=False, kw_only=True)
class Shutdown(Action):
    """End the launch; as the reaction to a process's exit it makes that process required."""

    reason: Text = "reason not given"

    def execute(self, context: LaunchContext) -> None:
        event = context.locals.event
        if isinstance(event, ProcessExited):
            get_logger().info(f"process[{event.name}] was required: shutting down launched system")
        context.shutdown(as_text(context, self.reason))


@dataclass(eq=False)
class GroupAction(Action):
    """Actions; if scoped, launch configurations and environment go back to before after them."""

    actions: Iterable[Action]
    _: KW_ONLY
    scoped: bool = True
    launch_configurations: Mapping[Text, Text] = field(default_factory=dict)

    def execute(self, context: LaunchContext) -> list[Action]:
        given = [SetLaunchConfiguration(*each) for each in self.launch_configurations.items()]
        before, environment = dict(context.launch_configurations), dict(context.environment)

        def leave(context: LaunchContext) -> None:
            context.launch_configurations = before
            context.environment.clear()
            context.environment.update(environment)

        return [*given, *self.actions, *[OpaqueFunction(function=leave)] * self.scoped]


@dataclass(eq=False, kw_only=True)
class TimerAction(Action):
    """Visit `actions` once, `period` seconds later, unless the launch ends before."""

    period: Text | float
    actions: Sequence[Action]

    def execute(self, context: LaunchContext) -> None:
        async def wait(seconds: float) -> None:
            await asyncio.sleep(seconds)
            context.visit(self.actions)

        self.future = asyncio.ensure_future(wait(float(as_text(context, self.period))))
        context.enders.append(lambda _: self.future.cancel())


@dataclass(eq=False)
class IncludeLaunchDescription(Action):
    """Visit another launch file, with `launch_arguments` set; both share one scope."""

    launch_description_source: LaunchDescriptionSource | Text
    _: KW_ONLY
    launch_arguments: Iterable[tuple[Text, Text]] | None = None

    def execute(self, context: LaunchContext) -> list[Any]:
        arguments = [SetLaunchConfiguration(*each) for each in self.launch_arguments or ()]
        return [*arguments, self._source().get_launch_description(context)]

    def _source(self) -> LaunchDescriptionSource:
        source = self.launch_description_source
        is_source = isinstance(source, LaunchDescriptionSource)
        return source if is_source else LaunchDescriptionSource(source)

    def get_sub_entities(self) -> list[Any]:
        try:
            return [self._source().get_launch_description(LaunchContext())]
        except Exception:
            # The path depends on the launch, or the file is bad, which will show when it is run.
            return []


@dataclass(eq=False)
class DeclareLaunchArgument(Action):
    """Puts the argument's value into the launch configuration of its name.

    Raises RuntimeError when visited: no value and no default, or a value not among the choices.
    """

    name: str
    _: KW_ONLY
    default_value: Text | None = None
    description: str = ""
    choices: Sequence[str] | None = None
    _conditionally_included: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        about = self.description
        self.description = about or "no description given"
        if self.choices:
            stop = "" if about.endswith(".") else "."
            intro = f"{about}{stop} Valid choices are: " if about else "One of: "
            self.description = f"{intro}{self.choices}"

    def execute(self, context: LaunchContext) -> None:
        values = context.launch_configurations
        if self.name not in values:
            if self.default_value is None:
                raise RuntimeError(f'Required launch argument "{self.name}" was not provided.')
            values[self.name] = as_text(context, self.default_value)
        if self.choices and values[self.name] not in self.choices:
            raise RuntimeError(
                f'Argument "{self.name}" provided value "{values[self.name]}" is not valid. '
                f"Valid options are: {self.choices}"
            )
