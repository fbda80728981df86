"""The fault injector from outside: whether it runs, what it breaks, and asking it to."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rcl_interfaces.srv import GetParameters, SetParametersAtomically
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.task import Future
from std_srvs.srv import Trigger

from multismolvla.faults.fault import JOINT_STATES
from multismolvla.nodes.fault_parameters import NONE

INJECTOR = "fault_injector"

# Called with the result as text, and whether the request succeeded.
Answer = Callable[[str, bool], None]


class InjectorClient:
    """Breaks and mends streams through the parameters of `fault_injector`.

    Attributes:
        faults: stream -> what the injector's parameters say is wrong with it, None for nothing;
            empty while it does not run. What a scenario does is not in the parameters.
    """

    def __init__(self, node: Node, streams: Sequence[str], answer: Answer) -> None:
        self._node, self._streams, self._answer = node, tuple(streams), answer
        # rclpy's AsyncParameterClient has six clients; every one makes each wait a little longer.
        self._get = node.create_client(GetParameters, f"{INJECTOR}/get_parameters")
        self._set = node.create_client(
            SetParametersAtomically, f"{INJECTOR}/set_parameters_atomically"
        )
        self._mend = node.create_client(Trigger, f"{INJECTOR}/mend")
        self._asked: Future | None = None
        self.faults: dict[str, str | None] = {}

    def refresh(self) -> None:
        """Ask what is broken; the answer comes later."""
        if not self._get.service_is_ready():
            self.faults, self._asked = {}, None
            return
        if self._asked is not None and not self._asked.done():
            return
        names = [_name(stream, "fault") for stream in self._streams]
        self._asked = self._get.call_async(GetParameters.Request(names=names))
        self._asked.add_done_callback(self._on_values)

    def _on_values(self, future: Future) -> None:
        values = [value.string_value for value in future.result().values]
        # An injector with another stream table gives no answer.
        if len(values) == len(self._streams):
            self.faults = {
                stream: None if value in ("", NONE) else value
                for stream, value in zip(self._streams, values, strict=True)
            }

    def listened_to(self, stream: str) -> bool:
        """Whether anybody takes what the injector makes of the stream."""
        topic = f"faulty/{stream}" if stream == JOINT_STATES else f"{stream}/faulty/image_raw"
        return self._node.count_subscribers(topic) > 0

    def kill(self, stream: str, fault: str, severity: int) -> None:
        """Break a stream."""
        self._give(stream, {"fault": fault, "severity": severity}, f"{stream}: {fault}")

    def mend(self, stream: str) -> None:
        """Mend a stream."""
        self._give(stream, {"fault": NONE}, f"{stream} is repaired")

    def mend_all(self) -> None:
        """End every fault, those of a scenario too."""
        if not self._mend.service_is_ready():
            self._answer(f"no {INJECTOR} runs", False)
            return
        self._mend.call_async(Trigger.Request()).add_done_callback(self._on_mended)

    def _on_mended(self, future: Future) -> None:
        self._answer(future.result().message, future.result().success)
        self.refresh()

    def _give(self, stream: str, values: dict, done: str) -> None:
        if not self._set.service_is_ready():
            self._answer(f"no {INJECTOR} runs", False)
            return
        parameters = [
            Parameter(_name(stream, last), value=value).to_parameter_msg()
            for last, value in values.items()
        ]
        future = self._set.call_async(SetParametersAtomically.Request(parameters=parameters))
        future.add_done_callback(lambda future: self._on_set(future.result().result, done))

    def _on_set(self, result, done: str) -> None:
        self._answer(done if result.successful else f"refused: {result.reason}", result.successful)
        self._asked = None
        self.refresh()


def _name(stream: str, last: str) -> str:
    return f"{stream.replace('/', '.')}.{last}"
