"""Labels that are made once for the same frames: passes over one bag differ in few of them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from multismolvla.control.action_queue import QueuedTargets
from multismolvla.control.policy_view import PolicyView, StreamGate
from multismolvla.data.recording import OBJECTS, TASK, Event, Recording
from multismolvla.faults.delivery_queue import DeliveryQueue
from multismolvla.faults.fault import JOINT_STATES, Delivery
from multismolvla.faults.scenario import Scenario
from multismolvla.interfaces import Policy
from multismolvla.pose_check.check import PoseCheck
from multismolvla.pose_check.weights import StreamWeights
from multismolvla.replay.trace import Plan, Trace
from multismolvla.sensing.synchronizer import SynchronizedSet
from multismolvla.stack.fault_record import FaultRecord
from multismolvla.stack.labeller import Segmenter
from multismolvla.stack.outcome import EpisodeKey
from multismolvla.stack.perception import Perception
from multismolvla.stack.policy_runner import (
    CONTROL_HZ,
    JOINT_STATES_TIMEOUT_S,
    QUEUE_THRESHOLD,
    PolicyInSimulation,
)
from multismolvla.stack.recorded_perception import GRID_NS, feed, instants
from multismolvla.stack.settings import StackSettings

SETTINGS = StackSettings()


class CachedSegmenter:
    """Asks a segmenter for the labels of frames that it has not seen yet.

    Keeps them all: 9 kB for a frame of 96x96, 16 MB for a minute of two views at 15 Hz.
    """

    def __init__(self, segmenter: Segmenter) -> None:
        self._segmenter = segmenter
        self._known: dict[bytes, np.ndarray] = {}

    @property
    def inputs(self) -> tuple[str, ...]:
        return self._segmenter.inputs

    def predict(self, frames: Mapping[str, np.ndarray | None]) -> np.ndarray:
        digest = hashlib.blake2b(digest_size=16)
        for kind in sorted(frames):
            frame = frames[kind]
            if frame is not None:
                digest.update(f"{kind} {frame.shape} {frame.dtype}".encode())
                digest.update(np.ascontiguousarray(frame))
        key = digest.digest()
        if key not in self._known:
            self._known[key] = self._segmenter.predict(frames)
        return self._known[key]


# One pass of a bag through the cores of the live nodes, on the bag's clock, without ROS.
#
# Injector, sensor conditioning, health, labels, synchroniser, policy loop and queue are those
# that run live; the arm is not moved: joint states are the recorded ones whatever the policy
# says. Time is that of the bag, so that a pass depends on nothing but its arguments.

# Steps of the grid between two ticks of the policy loop.
GRIDS_PER_TICK = round(1e9 / CONTROL_HZ) // GRID_NS


@dataclass(frozen=True)
class ReplaySettings:
    """How a bag is replayed.

    Attributes:
        task: instruction, instead of those of the bag.
        latency_s: simulated duration of an inference.
        min_visual_streams: streams that must be in use for the arm to move.
        pose_check: weights of the check of frames against joints, by stream; none for no check.
    """

    task: str = ""
    latency_s: float = 0.1
    min_visual_streams: int = 1
    pose_check: Mapping[str, StreamWeights] = field(default_factory=dict)


def replay(
    source: Recording,
    policy: Policy,
    settings: ReplaySettings,
    segmenter: Segmenter | None = None,
    scenario: Scenario | None = None,
    clean: Trace | None = None,
) -> Trace:
    """Replay a bag once; the same arguments give the same trace, if the policy does its part.

    The faults of a scenario begin, as with the live injector, with the policy's first trajectory:
    that of the clean trace.

    Args:
        segmenter: makes the labels; not needed where the bag has them.
        clean: the trace of the same bag without a scenario; what it masks was lost already.

    Raises:
        ValueError: a fault cannot be made, or has no beginning.
        BagError: the bag is damaged in the middle.
    """
    if scenario is not None and (clean is None or clean.acting_from_ns is None):
        raise ValueError("the policy commanded nothing, so the faults have no start")
    wall_s, processor_s = time.monotonic(), time.process_time()
    trace = _Pass(source, policy, settings, segmenter, scenario, clean).run()
    trace.wall_s = time.monotonic() - wall_s
    trace.processor_s = time.process_time() - processor_s
    return trace


class _Pass:
    def __init__(
        self,
        source: Recording,
        policy: Policy,
        settings: ReplaySettings,
        segmenter: Segmenter | None,
        scenario: Scenario | None,
        clean: Trace | None,
    ) -> None:
        self._source, self._settings, self._clean = source, settings, clean
        table = source.table
        self._scenario = scenario or Scenario("clean", ())
        self._origin_ns = None if clean is None else clean.acting_from_ns
        faults = {}
        if self._origin_ns is not None:
            faults = self._scenario.schedules(table, self._origin_ns)
        check = None
        if settings.pose_check:
            check = PoseCheck(settings.pose_check, {} if source.labels_recorded else table.derived)
        self._view = PolicyView(table, SETTINGS.policy.max_set_age_s, check=check)
        self._perception = Perception(
            table,
            self._view,
            faults,
            SETTINGS,
            segmenter=None if source.labels_recorded else segmenter,
            on_set=self._on_set,
        )
        self._joint_states = DeliveryQueue(faults)
        key = EpisodeKey(
            "",
            self._scenario.name,
            "",
            0,
            latency_s=settings.latency_s,
            queue_threshold=QUEUE_THRESHOLD,
            # The arm does not follow its commands here: each row is judged at its own instant.
            chunk_entry="stamp",
        )
        gate = StreamGate(table, min(settings.min_visual_streams, len(table)))
        self._policy = PolicyInSimulation(policy, key, self._view, gate, self._on_chunk)
        self._record = FaultRecord(self._scenario, table)
        self._task = ""
        self._ticks_ns: list[int] = []
        self._targets: list[np.ndarray] = []
        self._available: list[list[bool]] = []
        self._queue_s: list[float] = []
        self._plans: list[Plan] = []
        self._skews_s: list[float] = []
        self._frames = dict.fromkeys(table.names, 0)

    def run(self) -> Trace:
        steps = 0
        for instant in instants(self._source):
            if isinstance(instant, Event):
                self._take(instant)
                self._perception.advance(instant.now_ns)
                continue
            if not steps:
                self._give_task(self._settings.task or self._source.first_task, instant)
            self._step(instant, tick=steps % GRIDS_PER_TICK == 0)
            steps += 1
        targets = np.array(self._targets).reshape(-1, 6)
        ticks_ns = np.array(self._ticks_ns, np.int64)
        commanded = np.flatnonzero(np.isfinite(targets).all(axis=1))
        return Trace(
            self._scenario.name,
            self._source.table.names,
            ticks_ns,
            targets,
            np.array(self._available, bool).reshape(len(ticks_ns), -1),
            acting_from_ns=int(ticks_ns[commanded[0]]) if len(commanded) else None,
            plans=self._plans,
            skews_s=self._skews_s,
            frames=self._frames,
            latencies_s=[self._settings.latency_s] * self._policy.inferences,
            queue_s=np.array(self._queue_s),
            starved_ticks=self._policy.starved_ticks,
            held_ticks=self._policy.held_ticks,
            task_ticks=self._policy.ticks,
            error=self._policy.error,
            record=self._record,
        )

    def _take(self, event: Event) -> None:
        now_ns, source = event.now_ns, event.source
        if source in self._frames:
            self._frames[source] += 1
            feed(self._perception, event)
        elif event.problem:
            return
        elif source == TASK:
            if not self._settings.task:
                self._give_task(event.value, now_ns)
        elif source == OBJECTS:
            self._view.on_objects(now_ns, event.value)
        elif source == JOINT_STATES:
            sent = Delivery(event.value, event.stamp_ns, now_ns)
            self._joint_states.send(JOINT_STATES, sent, now_ns)
            self._receive_joint_states(now_ns)

    def _give_task(self, task: str, now_ns: int) -> None:
        if task != self._task:
            self._task = task
            self._policy.start_anew(now_ns)

    def _receive_joint_states(self, now_ns: int) -> None:
        for _, delivery in self._joint_states.due(now_ns):
            self._view.states.add(delivery.stamp_ns, delivery.frame)

    def _step(self, now_ns: int, *, tick: bool) -> None:
        self._receive_joint_states(now_ns)
        self._perception.advance(now_ns)
        self._policy.take_answer(now_ns)
        if tick:
            self._tick(now_ns)

    def _tick(self, now_ns: int) -> None:
        """One control period of the policy node."""
        statuses = self._perception.statuses(now_ns)
        trajectory = self._policy.tick(now_ns, self._task, statuses)
        number = len(self._ticks_ns)
        self._ticks_ns.append(now_ns)
        nothing = np.full(6, np.nan)
        self._targets.append(nothing if trajectory is None else trajectory.sample(now_ns)[0])
        mask = self._policy.mask
        self._available.append([mask.get(name, False) for name in self._source.table.names])
        self._queue_s.append(self._policy.level(now_ns).seconds)
        if self._origin_ns is not None and now_ns >= self._origin_ns:
            self._judge(now_ns, mask, statuses, number)

    def _judge(self, now_ns: int, mask: dict, statuses: dict, number: int) -> None:
        age_s = self._view.states.age_s(now_ns)
        known = age_s is not None and abs(age_s) <= JOINT_STATES_TIMEOUT_S
        states = {name: state for name, (state, _) in statuses.items()}
        available = {**mask, JOINT_STATES: known}
        if number < len(self._clean.ticks_ns):
            # What was lost in the recording already is neither found nor a false alarm.
            in_use = zip(self._clean.streams, self._clean.available[number], strict=True)
            lost = {name for name, used in in_use if not used}
            available |= dict.fromkeys(lost, True)
            states |= dict.fromkeys(lost, "OK")
        self._record.add(
            (now_ns - self._origin_ns) * 1e-9, available, states, self._perception.damaged(now_ns)
        )

    def _on_set(self, _: int, made: SynchronizedSet) -> None:
        self._skews_s.append(made.skew_ns * 1e-9)

    def _on_chunk(self, now_ns: int, queued: QueuedTargets) -> None:
        self._plans.append(Plan(now_ns, queued.times_ns, queued.targets))
