"""The actions of a launch description."""

import asyncio
import os
from collections.abc import Iterable
from typing import Any

from ..action import Action
from ..arguments import Text
from ..event_handlers import EventHandler, OnShutdown
from ..events import Due, Event
from ..events import Shutdown as ShutdownEvent
from ..events.process import ProcessExited
from ..launch_context import LaunchContext
from ..launch_description_sources import LaunchDescriptionSource
from ..logging import get_logger
from ..outside import outside
from ..utilities import normalize_to_list_of_substitutions, perform_substitutions
from .declare_launch_argument import DeclareLaunchArgument  # noqa: F401
from .execute_process import ExecuteProcess  # noqa: F401

__getattr__ = outside(__name__)


class SetLaunchConfiguration(Action):
    """Set a launch configuration."""

    def execute(self, context: LaunchContext, name: Text, value: Text) -> None:
        context.launch_configurations[name] = value


class SetEnvironmentVariable(Action):
    """Set an environment variable for what is launched after this."""

    def execute(self, context: LaunchContext, name: Text, value: Text) -> None:
        context.environment[name] = value


class UnsetEnvironmentVariable(Action):
    """Remove an environment variable for what is launched after this."""

    def execute(self, context: LaunchContext, name: Text) -> None:
        context.environment.pop(name, None)


class AppendEnvironmentVariable(Action):
    """Append to an environment variable for what is launched after this."""

    def execute(
        self, context: LaunchContext, name: Text, value: Text, *, separator: Text = os.pathsep
    ) -> None:
        before = [context.environment[name]] if name in context.environment else []
        context.environment[name] = separator.join([*before, value])


class LogInfo(Action):
    """Log a message."""

    def execute(self, context: LaunchContext, *, msg: Text) -> None:
        get_logger("launch.user").info(msg)


class OpaqueFunction(Action):
    """Call `function(context, *args, **kwargs)`, which may return entities to visit."""

    def execute(
        self, context: LaunchContext, *, function: Any, args: Any = None, kwargs: Any = None
    ) -> Any:
        return function(context, *(args or ()), **(kwargs or {}))


class RegisterEventHandler(Action):
    """Register an event handler."""

    def execute(self, context: LaunchContext, event_handler: EventHandler) -> None:
        context.register_event_handler(event_handler)


class EmitEvent(Action):
    """Emit an event."""

    def execute(self, context: LaunchContext, *, event: Event) -> None:
        context.emit_event_sync(event)


class Shutdown(Action):
    """End the launch; as the reaction to a process's exit it makes that process required."""

    def execute(self, context: LaunchContext, *, reason: Text = "reason not given") -> None:
        event = context.get_locals_as_dict().get("event")
        if isinstance(event, ProcessExited):
            get_logger().info(f"process[{event.name}] was required: shutting down launched system")
        context.emit_event_sync(ShutdownEvent(reason=reason))


class GroupAction(Action):
    """Actions; if scoped, launch configurations and environment go back to before after them."""

    def execute(
        self,
        context: LaunchContext,
        actions: Iterable[Any],
        *,
        scoped: bool = True,
        forwarding: bool = True,
        launch_configurations: dict[str, Any] | None = None,
    ) -> list[Any]:
        given = [SetLaunchConfiguration(*each) for each in (launch_configurations or {}).items()]
        if not scoped:
            return [*given, *actions]
        context.push_scope()
        if not forwarding:
            context.launch_configurations.clear()
        return [*given, *actions, OpaqueFunction(function=LaunchContext.pop_scope)]

    def get_sub_entities(self) -> list[Any]:
        return self.actions


class TimerAction(Action):
    """Visit `actions` once, `period` seconds later."""

    def execute(
        self,
        context: LaunchContext,
        *,
        period: Any,
        actions: Iterable[Any],
        cancel_on_shutdown: bool = True,
    ) -> None:
        async def wait(seconds: float) -> None:
            await asyncio.sleep(seconds)
            await context.emit_event(Due(entities=list(actions), locals=variables))

        variables = context.get_locals_as_dict()
        subs = normalize_to_list_of_substitutions(
            str(period) if isinstance(period, int | float) else period
        )
        seconds = float(perform_substitutions(context, subs))
        self.future = context.asyncio_loop.create_task(wait(seconds))
        if cancel_on_shutdown:
            context.register_event_handler(OnShutdown(on_shutdown=lambda *_: self.cancel()))

    def cancel(self) -> None:
        """Drop the actions unless they have been visited."""
        if self.future is not None:
            self.future.cancel()

    def get_sub_entities(self) -> list[Any]:
        return self.actions


class IncludeLaunchDescription(Action):
    """Visit another launch file, with `launch_arguments` set; both share one scope."""

    def execute(
        self,
        context: LaunchContext,
        launch_description_source: LaunchDescriptionSource | Text,
        *,
        launch_arguments: Iterable[tuple[Any, Any]] = (),
    ) -> list[Any]:
        source = self._source()
        description = source.get_launch_description(context)
        key = "current_launch_file_path"
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
