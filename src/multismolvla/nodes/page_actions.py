"""What happens when something on the page is pressed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from rclpy.client import Client
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.node import Node
from rclpy.task import Future
from std_msgs.msg import String
from std_srvs.srv import Trigger

from multismolvla.nodes.injector_client import Answer, InjectorClient
from multismolvla.nodes.run import call_soon
from multismolvla.web.page import Actions


class PageActions:
    """Takes presses from the server's threads; the node's executor does them, at once.

    Args:
        breakable: streams that the injector knows.
        answer: called with the result as text, and whether the request succeeded.

    Attributes:
        injector: the fault injector.
    """

    def __init__(self, node: Node, breakable: Sequence[str], answer: Answer) -> None:
        self._answer = answer
        self._pressed: deque[Callable[[], None]] = deque()
        self._node = node
        # Not latched: an instruction must not move an arm that comes later. Policies listen for
        # latched ones as well, of which rclpy would warn here.
        quiet = PublisherEventCallbacks(use_default_callbacks=False)
        self._task = node.create_publisher(String, "task", 1, event_callbacks=quiet)
        self._stop = node.create_client(Trigger, "so101_driver/stop")
        self._reset = node.create_client(Trigger, "so101_driver/reset")
        self.injector = InjectorClient(node, breakable, answer)

    def actions(self) -> Actions:
        """What the page calls."""
        return Actions(
            set_task=self._when_pressed(self._set_task),
            stop=self._when_pressed(partial(self._ask, self._stop, "stop")),
            resume=self._when_pressed(partial(self._ask, self._reset, "resume")),
            kill=self._when_pressed(self.injector.kill),
            mend=self._when_pressed(self.injector.mend),
            mend_all=self._when_pressed(self.injector.mend_all),
        )

    def _when_pressed(self, action: Callable[..., None]) -> Callable[..., None]:
        def press(*values) -> None:
            self._pressed.append(partial(action, *values))
            call_soon(self._node, self._do_pressed)

        return press

    def _do_pressed(self) -> None:
        while self._pressed:
            self._pressed.popleft()()

    def _set_task(self, task: str) -> None:
        task = " ".join(task.split())
        self._task.publish(String(data=task))
        self._answer(f"instruction sent: {task}" if task else "the arm has no task", True)

    def _ask(self, client: Client, name: str) -> None:
        if not client.service_is_ready():
            self._answer(f"no driver answers {client.srv_name}: NOTHING was done", False)
            return

        def on_answer(future: Future) -> None:
            answer = future.result()
            self._answer(f"{name}: {answer.message}", answer.success)

        client.call_async(Trigger.Request()).add_done_callback(on_answer)
