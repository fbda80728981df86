"""Several nodes in one process: a node that fails is created again, the others continue."""

from __future__ import annotations

import functools
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rclpy.executors import Executor
from rclpy.node import Node

from multismolvla.nodes.misconfigured import is_supervised, report_misconfigured
from multismolvla.one_line import one_line

# As the launch file waits before it starts a process again.
RESTART_DELAY_S = 1.0


@dataclass(frozen=True)
class NodeSpec:
    """One node of the process.

    Attributes:
        kind: names its class.
        arguments: its own ROS arguments, without `--ros-args`.
    """

    kind: str
    arguments: tuple[str, ...]


def inside(base: str, arguments: Sequence[str]) -> list[str]:
    """A node's own arguments, with its namespace within that of the process."""
    own = ""
    kept = []
    for word in arguments:
        if word.startswith("__ns:="):
            own = word.partition(":=")[2].strip("/")
            kept.pop()  # the -r before it
        else:
            kept.append(word)
    namespace = "/" + "/".join(part for part in (base.strip("/"), own) if part)
    return ["--ros-args", "-r", f"__ns:={namespace}", *kept]


def guarded(kind: type[Node], on_error: Callable[[Node, Exception], None]) -> type[Node]:
    """A subclass whose callbacks never raise: what they raise goes to `on_error`, once."""

    class Guarded(kind):
        failed = False

        def _guard(self, callback):
            # The wrapped function's parameters say whether it wants the message's info.
            @functools.wraps(callback)
            def call(*arguments):
                if not self.failed:
                    try:
                        return callback(*arguments)
                    except Exception as error:  # Whatever it is, the other nodes continue.
                        self.failed = True
                        on_error(self, error)
                return arguments[-1] if len(arguments) == 2 else None  # A service's response.

            return call

        def create_subscription(self, msg_type, topic, callback, *others, **options):
            return super().create_subscription(
                msg_type, topic, self._guard(callback), *others, **options
            )

        def create_timer(self, period_s, callback, *others, **options):
            return super().create_timer(period_s, self._guard(callback), *others, **options)

        def create_service(self, srv_type, name, callback, *others, **options):
            return super().create_service(srv_type, name, self._guard(callback), *others, **options)

    Guarded.__name__ = kind.__name__
    return Guarded


class NodeHost:
    """Creates the nodes, and creates those that fail again.

    Args:
        kinds: name -> class.
        base: namespace of the process.
        clock_s: seconds, only rising.
    """

    def __init__(
        self,
        specs: Sequence[NodeSpec],
        executor: Executor,
        kinds: Mapping[str, type[Node]],
        base: str = "",
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._executor, self._base, self._clock_s = executor, base, clock_s
        self._kinds = {name: guarded(kind, self._on_error) for name, kind in kinds.items()}
        self._nodes: dict[NodeSpec, Node] = {}
        self._due_s: dict[NodeSpec, float] = dict.fromkeys(specs, float("-inf"))
        self._errors: list[Node] = []
        self.misconfigured: list[str] = []

    @property
    def nodes(self) -> list[Node]:
        """Those that are there now, stand-ins for misconfigured ones included."""
        return list(self._nodes.values())

    def tend(self) -> None:
        """Take away what has failed and make what is due; between two spins of the executor."""
        while self._errors:
            failed = self._errors.pop()
            spec = next(spec for spec, node in self._nodes.items() if node is failed)
            self._remove(self._nodes.pop(spec))
            self._due_s[spec] = self._clock_s() + RESTART_DELAY_S
        for spec, due_s in list(self._due_s.items()):
            if self._clock_s() >= due_s:
                del self._due_s[spec]
                self._make(spec)

    def close(self) -> None:
        """Destroy every node."""
        for node in self._nodes.values():
            self._remove(node)
        self._nodes.clear()

    def _make(self, spec: NodeSpec) -> None:
        arguments = inside(self._base, spec.arguments)
        try:
            node = self._kinds[spec.kind](cli_args=arguments)
        except ValueError as error:
            # As a node alone: one line, and a stand-in that reports it under the node's name.
            print(f"error: {error}", file=sys.stderr, flush=True)
            self.misconfigured.append(str(error))
            if not is_supervised():
                return
            node = report_misconfigured(str(error), spec.kind, arguments[2].partition(":=")[2])
        except Exception as error:
            print(f"error: {spec.kind} cannot start: {_line(error)}", file=sys.stderr, flush=True)
            traceback.print_exc()
            self._due_s[spec] = self._clock_s() + RESTART_DELAY_S
            return
        self._nodes[spec] = node
        self._executor.add_node(node)

    def _on_error(self, node: Node, error: Exception) -> None:
        node.get_logger().fatal(
            f"the node failed ({_line(error)}); it is restarted, the other nodes of this "
            "process continue"
        )
        traceback.print_exception(error)
        self._errors.append(node)

    def _remove(self, node: Node) -> None:
        self._executor.remove_node(node)
        node.destroy_node()


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {one_line(error)}"
