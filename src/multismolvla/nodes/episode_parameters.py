"""The parameters of a simulator that may be changed while it runs: task, seed, dead cameras."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from multismolvla.nodes.parameters import declare
from multismolvla.streams import StreamTable

Task = TypeVar("Task")


class EpisodeParameters(Generic[Task]):
    """Declares them; `watch` checks the values and every change of them from then on.

    Task and seed take effect with the next episode, dead cameras at once.

    Args:
        seed: what the seed means, for a person.

    Attributes:
        dead: streams whose camera gives no frames.
    """

    def __init__(self, node: Node, seed: str = "Seed of the scene.") -> None:
        self._node = node
        declare(node, "task", "", "Task id or instruction; empty is the default task.")
        declare(node, "seed", 0, seed, minimum=0, maximum=2**31 - 1)
        declare(node, "dead_cameras", [""], "Streams whose camera gives no frames.")
        self.dead: frozenset[str] = frozenset()

    def watch(self, table: StreamTable, find: Callable[[str], Task], default: str) -> None:
        """Check the values that were given.

        Args:
            find: the task with an id or instruction; raises ValueError for none.
            default: the task of an empty text.

        Raises:
            ValueError: a stream or the task is unknown; one line.
        """
        self._table, self._find, self._default = table, find, default
        self.dead = self._checked_dead(self._node.get_parameter("dead_cameras").value)
        _ = self.task
        self._node.add_on_set_parameters_callback(self._on_change)

    @property
    def task(self) -> Task:
        """Of the next episode."""
        return self._task_of(self._node.get_parameter("task").value)

    @property
    def seed(self) -> int:
        """Of the next episode."""
        return self._node.get_parameter("seed").value

    @property
    def alive(self) -> list[str]:
        """The streams whose cameras give frames."""
        return [name for name in self._table.names if name not in self.dead]

    def _task_of(self, text: str) -> Task:
        return self._find(text.strip() or self._default)

    def _checked_dead(self, names: list[str]) -> frozenset[str]:
        dead = frozenset(name for name in names if name)
        for name in dead:
            _ = self._table[name]
        return dead

    def _on_change(self, parameters: list[Parameter]) -> SetParametersResult:
        dead = self.dead
        try:
            for parameter in parameters:
                if parameter.name == "dead_cameras":
                    dead = self._checked_dead(parameter.value)
                elif parameter.name == "task":
                    self._task_of(parameter.value)
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        self.dead = dead
        return SetParametersResult(successful=True)
