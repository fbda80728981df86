"""LaunchDescriptionEntity and Action, the bases of what a launch description holds."""

import asyncio
from typing import Any

from .arguments import Arguments
from .events import ExecutionComplete
from .launch_context import LaunchContext


class LaunchDescriptionEntity(Arguments, method="execute"):
    """Something that a launch visits."""

    future: asyncio.Future | None = None

    def visit(self, context: LaunchContext) -> Any:
        """Do what the entity stands for; return the entities to visit next."""

    def get_sub_entities(self) -> list[Any]:
        """Return the entities inside, as far as they are known before the launch."""
        return list(getattr(self, "actions", ()))

    def get_asyncio_future(self) -> asyncio.Future | None:
        """Return what the launch waits for before it counts as idle."""
        return self.future


class Action(LaunchDescriptionEntity):
    """An entity that is executed where its condition holds."""

    def __init__(self, *, condition: Any = None) -> None:
        self.condition = condition

    def execute(self, context: LaunchContext) -> Any:
        """Do it; return the entities to visit next."""

    def visit(self, context: LaunchContext) -> Any:
        if self.condition is not None and not self.condition.evaluate(context):
            return None
        entities, event = self.execute(context), ExecutionComplete(action=self)
        if self.get_asyncio_future() is None:
            context.emit_event_sync(event)
        else:
            self.get_asyncio_future().add_done_callback(lambda _: context.emit_event_sync(event))
        return entities
