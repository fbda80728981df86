"""One pass of a bag through the cores of the live nodes, on the bag's clock, without ROS.

Injector, sensor conditioning, health, labels, synchroniser, policy loop and queue are those
that run live; the arm is not moved: joint states are the recorded ones whatever the policy
says. Time is that of the bag, so that a pass depends on nothing but its arguments.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from multismolvla.data.recording import OBJECTS, TASK, Event, Recording
from multismolvla.faults.delivery_queue import DeliveryQueue
from multismolvla.faults.fault import JOINT_STATES, Delivery
from multismolvla.faults.record import FaultRecord
from multismolvla.faults.scenario import Scenario
from multismolvla.interfaces import Policy
from multismolvla.pose_check.check import PoseCheck
from multismolvla.pose_check.weights import StreamWeights
from multismolvla.replay.trace import Plan, Trace
from multismolvla.sensing.synchronizer import SynchronizedSet
from multismolvla.stack.delayed_inference import DelayedInference
from multismolvla.stack.labeller import Segmenter
from multismolvla.stack.perception import Perception
from multismolvla.stack.policy_runner import PolicyRunner
from multismolvla.stack.recorded_perception import GRID_NS, feed, instants
from multismolvla.stack.settings import StackSettings

# Labels that are made once for the same frames: passes over one bag differ in few of them.


class CachedSegmenter:
    """A segmenter with a cache: it labels only frames that are new.

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


@dataclass(frozen=True)
class ReplaySettings:
    """How a bag is replayed.

    Attributes:
        task: instruction, instead of those of the bag.
        latency_s: simulated duration of an inference.
        stack: settings of the robot.
        pose_check: weights of the check of frames against joints, by stream; none for no check.
    """

    task: str = ""
    latency_s: float = 0.1
    stack: StackSettings = field(default_factory=StackSettings)
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
        own = settings.stack.policy
        # The arm does not follow what is commanded here: each row is judged at its own instant.
        least = min(own.min_visual_streams, len(table))
        own = replace(own, chunk_entry="stamp", min_visual_streams=least)
        self._timeout_s = own.joint_states_timeout_s
        self._policy = PolicyRunner(policy, source.joints, table, own, check)
        self._view = self._policy.view
        self._inference = DelayedInference(self._policy, settings.latency_s)
        self._grids_per_tick = max(1, round(self._policy.step_ns / GRID_NS))
        self._perception = Perception(
            table,
            self._view,
            faults,
            settings.stack,
            segmenter=None if source.labels_recorded else segmenter,
            on_set=self._on_set,
        )
        self._joint_states = DeliveryQueue(faults)
        self._record = FaultRecord(self._scenario, table)
        self._held_ticks = self._task_ticks = 0
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
                self._policy.give_task(self._settings.task or self._source.first_task)
            self._step(instant, tick=steps % self._grids_per_tick == 0)
            steps += 1
        targets = np.array(self._targets).reshape(-1, len(self._source.joints))
        ticks_ns = np.array(self._ticks_ns, np.int64)
        commanded = np.flatnonzero(np.isfinite(targets).all(axis=1))
        return Trace(
            self._scenario.name,
            self._source.joints,
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
            held_ticks=self._held_ticks,
            task_ticks=self._task_ticks,
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
                self._policy.give_task(event.value)
        elif source == OBJECTS:
            self._view.on_objects(now_ns, event.value)
        elif source == JOINT_STATES:
            sent = Delivery(event.value, event.stamp_ns, now_ns)
            self._joint_states.send(JOINT_STATES, sent, now_ns)
            self._receive_joint_states(now_ns)

    def _receive_joint_states(self, now_ns: int) -> None:
        for _, delivery in self._joint_states.due(now_ns):
            self._view.states.add(delivery.stamp_ns, delivery.frame)

    def _step(self, now_ns: int, *, tick: bool) -> None:
        self._receive_joint_states(now_ns)
        self._perception.advance(now_ns)
        if self._inference.take_answer(now_ns):
            queued = self._policy.queued()
            self._plans.append(Plan(now_ns, queued.times_ns, queued.targets))
        if tick:
            self._tick(now_ns)

    def _tick(self, now_ns: int) -> None:
        """One control period of the policy node."""
        statuses = self._perception.statuses(now_ns)
        tick = self._policy.tick(now_ns, statuses)
        if tick.request is not None:
            self._inference.start(tick.request, now_ns, statuses)
        if self._policy.task:
            self._task_ticks += 1
            self._held_ticks += tick.holds
        number = len(self._ticks_ns)
        self._ticks_ns.append(now_ns)
        self._targets.append(
            np.full(len(self._source.joints), np.nan) if tick.targets is None else tick.targets[0]
        )
        mask = self._policy.mask.available
        self._available.append([mask.get(name, False) for name in self._source.table.names])
        self._queue_s.append(self._policy.level(now_ns).seconds)
        if self._origin_ns is not None and now_ns >= self._origin_ns:
            self._judge(now_ns, mask, statuses, number)

    def _judge(self, now_ns: int, mask: dict, statuses: dict, number: int) -> None:
        age_s = self._view.states.age_s(now_ns)
        known = age_s is not None and abs(age_s) <= self._timeout_s
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
