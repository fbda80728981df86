"""The actions of a launch description."""

import asyncio
import os
from typing import Any

from ..action import Action
from ..arguments import Text
from ..event_handlers import OnShutdown
from ..events import Due
from ..events import Shutdown as ShutdownEvent
from ..events.process import ProcessExited
from ..launch_context import LaunchContext
from ..launch_description_sources import LaunchDescriptionSource
from ..logging import get_logger
from ..outside import outside
from ..utilities import normalize_to_list_of_substitutions, perform_substitutions
from .execute_process import ExecuteProcess  # noqa: F401

__getattr__ = outside(__name__)
action = Action.from_function


@action
def SetLaunchConfiguration(self, context, name: Text, value: Text) -> None:
    """Set a launch configuration."""
    context.launch_configurations[name] = value


@action
def SetEnvironmentVariable(self, context, name: Text, value: Text) -> None:
    """Set an environment variable for what is launched after this."""
    context.environment[name] = value


@action
def UnsetEnvironmentVariable(self, context, name: Text) -> None:
    """Remove an environment variable for what is launched after this."""
    context.environment.pop(name, None)


@action
def AppendEnvironmentVariable(self, context, name: Text, value: Text, separator: Text = os.pathsep):
    """Append to an environment variable for what is launched after this."""
    before = [context.environment[name]] if name in context.environment else []
    context.environment[name] = separator.join([*before, value])


@action
def LogInfo(self, context, *, msg: Text) -> None:
    """Log a message."""
    get_logger("launch.user").info(msg)


@action
def OpaqueFunction(self, context, *, function: Any, args: Any = None, kwargs: Any = None) -> Any:
    """Call `function(context, *args, **kwargs)`, which may return entities to visit."""
    return function(context, *(args or ()), **(kwargs or {}))


@action
def RegisterEventHandler(self, context, event_handler: Any) -> None:
    """Register an event handler."""
    context.register_event_handler(event_handler)


@action
def EmitEvent(self, context, *, event: Any) -> None:
    """Emit an event."""
    context.emit_event_sync(event)


@action
def Shutdown(self, context, *, reason: Text = "reason not given") -> None:
    """End the launch; as the reaction to a process's exit it makes that process required."""
    event = context.get_locals_as_dict().get("event")
    if isinstance(event, ProcessExited):
        get_logger().info(f"process[{event.name}] was required: shutting down launched system")
    context.emit_event_sync(ShutdownEvent(reason=reason))


@action
def GroupAction(self, context, actions, *, scoped=True, forwarding=True, launch_configurations=()):
    """Actions; if scoped, launch configurations and environment go back to before after them."""
    given = [SetLaunchConfiguration(*each) for each in dict(launch_configurations or ()).items()]
    if not scoped:
        return [*given, *actions]
    context.push_scope()
    if not forwarding:
        context.launch_configurations.clear()
    return [*given, *actions, OpaqueFunction(function=LaunchContext.pop_scope)]


class TimerAction(Action):
    """Visit `actions` once, `period` seconds later."""

    def execute(self, context: LaunchContext, *, period, actions, cancel_on_shutdown=True) -> None:
        async def wait(seconds: float) -> None:
            await asyncio.sleep(seconds)
            context.emit_event_sync(Due(entities=due))

        def due(context: LaunchContext) -> list[Any]:
            context.extend_locals(variables)
            return list(actions)

        variables = context.get_locals_as_dict()
        period = str(period) if isinstance(period, int | float) else period
        subs = normalize_to_list_of_substitutions(period)
        seconds = float(perform_substitutions(context, subs))
        self.future = context.asyncio_loop.create_task(wait(seconds))
        if cancel_on_shutdown:
            context.register_event_handler(OnShutdown(on_shutdown=lambda *_: self.cancel()))

    def cancel(self) -> None:
        """Drop the actions unless they have been visited."""
        if self.future is not None:
            self.future.cancel()


class IncludeLaunchDescription(Action):
    """Visit another launch file, with `launch_arguments` set; both share one scope."""

    def execute(self, context, launch_description_source, *, launch_arguments=()) -> list[Any]:
        source, key = self._source(), "current_launch_file_path"
        description = source.get_launch_description(context)
        outer = {key: context.get_locals_as_dict().get(key)}
        context.extend_locals({key: os.path.abspath(source.path(context))})
        back = OpaqueFunction(function=LaunchContext.extend_locals, args=[outer])
        arguments = [SetLaunchConfiguration(*each) for each in launch_arguments or ()]
        return [*arguments, description, back]

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


class DeclareLaunchArgument(Action):
    """Puts the argument's value into the launch configuration of its name.

    Raises, when executed:
        RuntimeError: it is not given and has no default, or its value is not among the choices.
    """

    _conditionally_included = False

    def __init__(self, name, *, default_value=None, description="", choices=None, condition=None):
        super().__init__(condition=condition)
        self.name, self.choices = name, choices
        given = default_value is not None
        self.default_value = normalize_to_list_of_substitutions(default_value) if given else None
        self.description = description or "no description given"
        if choices:
            stop = "" if description.endswith(".") else "."
            about = f"{description}{stop} Valid choices are: " if description else "One of: "
            self.description = f"{about}{choices}"

    def execute(self, context: LaunchContext) -> None:
        values = context.launch_configurations
        if self.name not in values:
            if self.default_value is None:
                raise RuntimeError(f'Required launch argument "{self.name}" was not provided.')
            values[self.name] = perform_substitutions(context, self.default_value)
        if self.choices and values[self.name] not in self.choices:
            raise RuntimeError(
                f'Argument "{self.name}" provided value "{values[self.name]}" is not valid. '
                f"Valid options are: {self.choices}"
            )
