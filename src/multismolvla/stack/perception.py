"""The sensing half of the stack without ROS: cameras, faults, health and synchroniser.

What happens to a frame is what happens to it between a camera and the policy node, by the same
code: damaged, on its way, judged, conditioned, matched with the others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np

from multismolvla.control.policy_view import PolicyView
from multismolvla.data.units import from_counts, to_counts
from multismolvla.faults.delivery_queue import DeliveryQueue, FaultSchedule
from multismolvla.faults.fault import Delivery
from multismolvla.sensing.conditioning import resize, to_units
from multismolvla.sensing.health import State, StreamHealth
from multismolvla.sensing.reported_health import ReportedHealth, StreamStatus
from multismolvla.sensing.synchronizer import SynchronizedSet, Synchronizer
from multismolvla.stack.labeller import Labeller, Labels, Segmenter
from multismolvla.streams import StreamTable

# As config/policy_node.yaml has them.
SLOP_S, MAX_WAIT_S, MAX_SET_AGE_S = 0.03, 0.1, 0.5
# From a camera to its sensor node: about what a picture takes on the desk.
TRANSPORT_NS = 5_000_000


class SensorRig:
    """Takes perfect frames at their instants and writes sets of conditioned ones into a view.

    Args:
        table: the streams, in order of preference as the synchroniser's reference; not empty.
        segmenter: labels the views; without one, labels are frames like others.
        oracle: streams count as lost exactly while a fault of theirs lasts, and else as healthy,
            whatever they look like; otherwise the health of the frames decides, as it does live.
        slop_s, max_wait_s: of the synchroniser.
        on_set: shown every set and the time at which it was made.
        reported: streams of which conditioned frames come, and statuses of the node that judged
            them.
    """

    def __init__(
        self,
        table: StreamTable,
        view: PolicyView,
        faults: Mapping[str, FaultSchedule],
        *,
        oracle: bool,
        slop_s: float = SLOP_S,
        max_wait_s: float = MAX_WAIT_S,
        segmenter: Segmenter | None = None,
        on_set: Callable[[int, SynchronizedSet], None] | None = None,
        reported: Collection[str] = (),
    ) -> None:
        self._on_set = on_set
        self._table = table
        self._view = view
        self._faults = faults
        self._oracle = oracle
        self._labellers = {
            stream.name: Labeller(stream, table, segmenter)
            for stream in table
            if segmenter is not None and stream.derived_from and stream.name not in reported
        }
        self._reported = {name: ReportedHealth() for name in reported}
        self._health = {
            stream.name: StreamHealth(stream.kind, stream.rate_hz)
            for stream in table
            if stream.name not in reported and stream.name not in self._labellers
        }
        self._health |= {name: labeller.health for name, labeller in self._labellers.items()}
        self._health |= self._reported
        # What the labellers know of their sources.
        self._told: dict[tuple[str, str], tuple[State, tuple[str, ...]]] = {}
        self._synchronizer = Synchronizer(table.names, round(slop_s * 1e9), round(max_wait_s * 1e9))
        self._alive = dict.fromkeys(table.names, True)
        self._way = DeliveryQueue(faults)
        for name in table.names:
            self._follow(name, 0)

    def looked_through(self, now_ns: int) -> list[str]:
        """The streams of which a frame of now can have any effect."""
        return [
            name
            for name in self._table.names
            if name not in self._labellers
            and not (name in self._faults and self._faults[name].silent(now_ns))
        ]

    def expose(self, frames: Mapping[str, np.ndarray], now_ns: int) -> None:
        """Take the frames that the cameras see now, in SI units, by stream."""
        for name, frame in frames.items():
            if name not in self._labellers:
                kind = self._table[name].kind
                # Cameras count: what is sent has the resolution of 16 bits.
                seen = from_counts(kind, to_counts(kind, frame))
                self._way.send(name, Delivery(seen, now_ns, now_ns + TRANSPORT_NS))

    def send(self, name: str, frame: np.ndarray, stamp_ns: int, now_ns: int) -> None:
        """Take a frame in SI units that comes now, with a stamp of its camera's.

        Labels that are made here are not taken.
        """
        if name not in self._labellers:
            self._way.send(name, Delivery(frame, stamp_ns, now_ns), now_ns)

    def refuse(self, name: str, reason: str, now_ns: int) -> None:
        """Take a message that comes now and holds no picture."""
        if name not in self._labellers and name in self.looked_through(now_ns):
            self._health[name].on_bad_message(reason, now_ns)

    def report(self, name: str, status: StreamStatus, now_ns: int) -> None:
        """Take what the node of a stream reports of it now."""
        self._reported[name].on_status(status, now_ns)

    def advance(self, now_ns: int) -> None:
        """Let happen what happens until now."""
        for name, delivery in self._way.due(now_ns):
            self._receive(name, delivery, now_ns)
        for name, health in self._health.items():
            if health.deadline_ns is not None and now_ns >= health.deadline_ns:
                health.tick(now_ns)
            self._follow(name, now_ns)
        for name, labeller in self._labellers.items():
            self._tell_sources(labeller, now_ns)
            self._send_labels(name, labeller.tick(now_ns))
        deadline_ns = self._synchronizer.deadline_ns
        if deadline_ns is not None and now_ns >= deadline_ns:
            self._emit(self._synchronizer.tick(now_ns), now_ns)

    def statuses(self, now_ns: int) -> dict[str, tuple[str, str]]:
        """Stream -> (state, reasons), as the sensor nodes tell the policy node."""
        if self._oracle:
            return {
                name: ("LOST", "oracle") if self._damaged(name, now_ns) else ("OK", "")
                for name in self._table.names
            }
        return {
            name: (health.state.name, ",".join(health.reasons))
            for name, health in self._health.items()
        }

    def damaged(self, now_ns: int) -> set[str]:
        """The streams that are damaged now, themselves or all that they are made from."""
        return {name for name in self._table.names if self._damaged(name, now_ns)}

    def _damaged(self, name: str, now_ns: int) -> bool:
        labeller = self._labellers.get(name)
        if labeller is not None and all(self._damaged(s, now_ns) for s in labeller.sources):
            return True
        return name in self._faults and self._faults[name].active(now_ns)

    def _send_labels(self, name: str, made: list[Labels]) -> None:
        for stamp_ns, arrive_ns, labels in made:
            self._way.send(name, Delivery(labels, stamp_ns, arrive_ns))

    def _receive(self, name: str, delivery: Delivery, now_ns: int) -> None:
        stream = self._table[name]
        if delivery.unreadable:
            self._health[name].on_bad_message(delivery.unreadable, now_ns)
            return
        frame = to_units(stream.kind, delivery.frame)
        usable = self._health[name].on_frame(frame, delivery.stamp_ns, now_ns)
        if usable or self._oracle:
            conditioned = resize(stream.kind, frame, stream.height, stream.width)
            for label_name, labeller in self._labellers.items():
                if name in labeller.sources:
                    made = labeller.add(name, delivery.stamp_ns, conditioned, now_ns)
                    self._send_labels(label_name, made)
            sets = self._synchronizer.add(name, delivery.stamp_ns, conditioned, now_ns)
            self._emit(sets, now_ns)

    def _follow(self, name: str, now_ns: int) -> None:
        """Tell the synchroniser what it can wait for."""
        if self._oracle:
            alive = not self._damaged(name, now_ns)
        else:
            alive = self._health[name].state is not State.LOST
        if alive != self._alive[name]:
            self._alive[name] = alive
            self._emit(self._synchronizer.set_alive(name, alive, now_ns), now_ns)

    def _tell_sources(self, labeller: Labeller, now_ns: int) -> None:
        for source in labeller.sources:
            told = self._health[source].state, self._health[source].reasons
            if self._oracle:
                told = (State.LOST if self._damaged(source, now_ns) else State.OK), ()
            key = labeller.name, source
            if self._told.get(key) != told:
                self._told[key] = told
                self._send_labels(labeller.name, labeller.follow(source, *told, now_ns))

    def _emit(self, sets: list[SynchronizedSet], now_ns: int) -> None:
        for made in sets:
            if self._on_set is not None:
                self._on_set(now_ns, made)
            self._view.on_set(now_ns, made.stamp_ns, made.messages, made.masked)
