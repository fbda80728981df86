"""What a launch visits: entities, among them actions and launch descriptions."""

import asyncio
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass
from typing import Any

from .conditions import IfCondition
from .launch_context import LaunchContext


class LaunchDescriptionEntity:
    """Something that a launch visits."""

    condition: IfCondition | None = None
    future: asyncio.Future | None = None  # what the launch waits for before it counts as idle

    def visit(self, context: LaunchContext) -> Any:
        """Do what the entity stands for; return the entities to visit next."""

    def get_sub_entities(self) -> list[Any]:
        """Return the entities inside, as far as they are known before the launch."""
        return list(getattr(self, "actions", ()))


@dataclass(eq=False)
class Action(LaunchDescriptionEntity):
    """An entity that is executed where its condition holds."""

    _: KW_ONLY
    condition: IfCondition | None = None

    def execute(self, context: LaunchContext) -> Any:
        """Do it; return the entities to visit next."""

    def visit(self, context: LaunchContext) -> Any:
        if self.condition is None or self.condition.evaluate(context):
            return self.execute(context)
        return None


class LaunchDescription(LaunchDescriptionEntity):
    """Entities that are visited in their order."""

    def __init__(self, initial_entities: Iterable[LaunchDescriptionEntity] = ()) -> None:
        self.actions = self.entities = list(initial_entities or ())
        self.add_action = self.add_entity = self.entities.append

    def visit(self, context: LaunchContext) -> list[LaunchDescriptionEntity]:
        return self.entities

    def get_launch_arguments(self) -> list[Any]:
        """Return the DeclareLaunchArgument actions inside, the first of each name.

        Their `_conditionally_included` says whether they depend on a condition.
        """
        from .actions import DeclareLaunchArgument

        found: dict[str, DeclareLaunchArgument] = {}

        def search(entities: Iterable[LaunchDescriptionEntity], conditional: bool) -> None:
            for entity in entities:
                depends = conditional or entity.condition is not None
                if isinstance(entity, DeclareLaunchArgument) and entity.name not in found:
                    entity._conditionally_included = depends
                    found[entity.name] = entity
                search(entity.get_sub_entities(), depends)

        search(self.entities, False)
        return list(found.values())
