"""The sensing half of the stack without ROS: cameras, faults, health, labels and synchroniser.

What happens to a frame is what happens to it between a camera and the policy node, by the same
code: damaged, transported, judged, conditioned, labelled, matched with the others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np

from multismolvla.control.policy_view import PolicyView
from multismolvla.faults.delivery_queue import DeliveryQueue, FaultSchedule
from multismolvla.faults.fault import Delivery
from multismolvla.modalities.conversion import condition, from_counts, to_counts
from multismolvla.sensing.health import State
from multismolvla.sensing.reported_health import ReportedHealth, StreamStatus
from multismolvla.sensing.synchronizer import SynchronizedSet, Synchronizer
from multismolvla.stack.labeller import Instant, Labeller, Segmenter, label_sources
from multismolvla.stack.settings import StackSettings
from multismolvla.stack.stream_pipe import StreamPipe
from multismolvla.streams import StreamTable

# From a camera to its sensor node: about what an image takes on the desk.
TRANSPORT_NS = 5_000_000
# From the frames of an instant to its labels: about what the network takes on one core.
LABELLING_NS = 25_000_000


class Perception:
    """Takes frames at their instants and writes sets of conditioned ones into a view.

    Args:
        table: the streams, in order of preference as the synchroniser's reference; not empty.
        faults: what happens to the frames of a stream between camera and sensor node.
        oracle: streams count as lost exactly while a fault of theirs lasts, and else as healthy,
            whatever they look like; otherwise the health of the frames decides, as it does live.
        segmenter: labels the views; without one, labels are frames like others.
        on_set: called with the time and every set that is made then.
        reported: streams of which conditioned frames come, and statuses of the node that judged
            them.

    Raises:
        ValueError: a derived stream cannot be labelled.
    """

    def __init__(
        self,
        table: StreamTable,
        view: PolicyView,
        faults: Mapping[str, FaultSchedule],
        settings: StackSettings,
        *,
        oracle: bool = False,
        segmenter: Segmenter | None = None,
        on_set: Callable[[int, SynchronizedSet], None] | None = None,
        reported: Collection[str] = (),
    ) -> None:
        self._table, self._view, self._faults = table, view, faults
        self._oracle, self._segmenter, self._on_set = oracle, segmenter, on_set
        self._labellers = {
            stream.name: Labeller(
                stream,
                label_sources(stream, segmenter.inputs, table),
                settings.labeller,
                settings.thresholds[stream.kind],
            )
            for stream in table
            if segmenter is not None and stream.derived_from and stream.name not in reported
        }
        self._reported = {name: ReportedHealth() for name in reported}
        others = {name: labeller.health for name, labeller in self._labellers.items()}
        others |= self._reported
        self._pipes = {
            stream.name: StreamPipe(
                stream,
                settings.thresholds[stream.kind],
                # Frames come in SI units.
                settings.counts[stream.kind].converted(),
                others.get(stream.name),
            )
            for stream in table
        }
        # What the labellers know of their sources: (labels, source) -> state and reasons.
        self._known: dict[tuple[str, str], tuple[State, tuple[str, ...]]] = {}
        policy = settings.policy
        self._synchronizer = Synchronizer(
            table.names, round(policy.slop_s * 1e9), round(policy.max_wait_s * 1e9)
        )
        self._alive = dict.fromkeys(table.names, True)
        self._transport = DeliveryQueue(faults)
        for name in table.names:
            self._update_alive(name, 0)

    def needed(self, now_ns: int) -> list[str]:
        """The streams whose current frame can matter: neither derived nor silenced by a fault."""
        return [
            name
            for name in self._table.names
            if name not in self._labellers
            and not (name in self._faults and self._faults[name].silent(now_ns))
        ]

    def expose(self, frames: Mapping[str, np.ndarray], now_ns: int) -> None:
        """Take the frames that simulated cameras see now, in SI units, by stream."""
        for name, frame in frames.items():
            if name not in self._labellers:
                modality = self._table[name].modality
                # Cameras count: what is sent has the resolution of 16 bits.
                seen = from_counts(modality, to_counts(modality, frame))
                self._transport.send(name, Delivery(seen, now_ns, now_ns + TRANSPORT_NS))

    def send(self, name: str, frame: np.ndarray, stamp_ns: int, now_ns: int) -> None:
        """Take a frame of a camera that arrives now, with the camera's stamp.

        Labels that are made here are not taken.

        Args:
            frame: raw pixels; a fault of the image needs them in SI units.
        """
        if name not in self._labellers:
            self._transport.send(name, Delivery(frame, stamp_ns, now_ns), now_ns)

    def refuse(self, name: str, reason: str, now_ns: int) -> None:
        """Take a message that arrives now and holds no frame."""
        if name not in self._labellers and name in self.needed(now_ns):
            self._pipes[name].refuse(reason, now_ns)

    def report(self, name: str, status: StreamStatus, now_ns: int) -> None:
        """Take what the node of a stream reports of it now."""
        self._reported[name].on_status(status, now_ns)

    def advance(self, now_ns: int) -> None:
        """Let happen what is due by now; call at least whenever something was sent or is due."""
        for name, delivery in self._transport.due(now_ns):
            self._receive(name, delivery, now_ns)
        for name, pipe in self._pipes.items():
            deadline_ns = pipe.deadline_ns
            if deadline_ns is not None and now_ns >= deadline_ns:
                pipe.tick(now_ns)
            self._update_alive(name, now_ns)
        for name, labeller in self._labellers.items():
            self._update_sources(name, labeller, now_ns)
            deadline_ns = labeller.deadline_ns
            if deadline_ns is not None and now_ns >= deadline_ns:
                self._label(name, labeller.tick(now_ns), now_ns)
        deadline_ns = self._synchronizer.deadline_ns
        if deadline_ns is not None and now_ns >= deadline_ns:
            self._emit(self._synchronizer.tick(now_ns), now_ns)

    def statuses(self, now_ns: int) -> dict[str, tuple[str, str]]:
        """Stream -> (state, reasons), as the sensor nodes report them to the policy node."""
        if self._oracle:
            return {
                name: ("LOST", "oracle") if self._damaged(name, now_ns) else ("OK", "")
                for name in self._table.names
            }
        return {
            name: (pipe.health.state.name, ",".join(pipe.health.reasons))
            for name, pipe in self._pipes.items()
        }

    def damaged(self, now_ns: int) -> set[str]:
        """The streams that are damaged now, themselves or all that they are made from."""
        return {name for name in self._table.names if self._damaged(name, now_ns)}

    def _damaged(self, name: str, now_ns: int) -> bool:
        labeller = self._labellers.get(name)
        if labeller is not None and all(self._damaged(s, now_ns) for s in labeller.sources):
            return True
        return name in self._faults and self._faults[name].active(now_ns)

    def _label(self, name: str, instants: list[Instant], now_ns: int) -> None:
        for instant in instants:
            labels = self._segmenter.predict(instant.frames)
            sent = Delivery(labels, instant.stamp_ns, now_ns + LABELLING_NS)
            self._transport.send(name, sent)

    def _receive(self, name: str, delivery: Delivery, now_ns: int) -> None:
        pipe, stamp_ns, stream = self._pipes[name], delivery.stamp_ns, self._table[name]
        if delivery.unreadable:
            pipe.refuse(delivery.unreadable, now_ns)
            return
        frame = pipe.take(delivery.frame, stamp_ns, now_ns)
        if frame is None and self._oracle:
            frame = condition(stream.modality, delivery.frame, stream.height, stream.width)
        if frame is None:
            return
        for labels, labeller in self._labellers.items():
            if name in labeller.sources:
                self._label(labels, labeller.add(name, stamp_ns, frame, now_ns), now_ns)
        self._emit(self._synchronizer.add(name, stamp_ns, frame, now_ns), now_ns)

    def _update_alive(self, name: str, now_ns: int) -> None:
        """Have the synchroniser wait only for what can come."""
        alive = not self._damaged(name, now_ns) if self._oracle else self._pipes[name].alive
        if alive != self._alive[name]:
            self._alive[name] = alive
            self._emit(self._synchronizer.set_alive(name, alive, now_ns), now_ns)

    def _update_sources(self, name: str, labeller: Labeller, now_ns: int) -> None:
        for source in labeller.sources:
            health = self._pipes[source].health
            status = health.state, health.reasons
            if self._oracle:
                status = (State.LOST if self._damaged(source, now_ns) else State.OK), ()
            if self._known.get((name, source)) != status:
                self._known[name, source] = status
                self._label(name, labeller.set_source(source, *status, now_ns), now_ns)

    def _emit(self, sets: list[SynchronizedSet], now_ns: int) -> None:
        for made in sets:
            if self._on_set is not None:
                self._on_set(now_ns, made)
            self._view.on_set(now_ns, made.stamp_ns, made.messages, made.masked)
