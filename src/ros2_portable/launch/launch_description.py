"""LaunchDescription: the entities of one launch file."""

from collections.abc import Iterable
from typing import Any

from .action import LaunchDescriptionEntity
from .launch_context import LaunchContext


class LaunchDescription(LaunchDescriptionEntity):
    """Entities that are visited in their order."""

    def __init__(self, initial_entities: Iterable[LaunchDescriptionEntity] | None = None) -> None:
        self.actions = self.entities = list(initial_entities or ())
        self.add_action = self.add_entity = self.entities.append

    def visit(self, context: LaunchContext) -> list[LaunchDescriptionEntity]:
        return self.entities

    def get_launch_arguments(self) -> list[Any]:
        """Return the DeclareLaunchArgument actions inside, the first of each name.

        Their `_conditionally_included` says whether they depend on a condition.
        """
        from .actions import DeclareLaunchArgument

        found: dict[str, Any] = {}

        def search(entities: Iterable[LaunchDescriptionEntity], conditional: bool) -> None:
            for entity in entities:
                depends = conditional or entity.condition is not None
                if isinstance(entity, DeclareLaunchArgument) and entity.name not in found:
                    entity._conditionally_included = depends
                    found[entity.name] = entity
                search(entity.get_sub_entities(), depends)

        search(self.entities, False)
        return list(found.values())
