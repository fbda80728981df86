"""What a live stack did while it was recorded, in the form of a pass of a replay.

All times are stamps of its messages, so that they are on the clock of the images whether the stack
ran on the system's time or on that of a bag that was played to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from multismolvla.arm import JOINT_NAMES
from multismolvla.data import bag_messages as messages
from multismolvla.data.recorded_bag import RecordedBag
from multismolvla.data.recording import COMMAND
from multismolvla.faults.scenario import Scenario
from multismolvla.replay.trace import Plan, Setpoints, Trace
from multismolvla.sensing.synchronizer import Synchronizer
from multismolvla.stack.fault_record import FaultRecord
from multismolvla.stack.perception import MAX_WAIT_S, SLOP_S
from multismolvla.stack.policy_runner import CONTROL_HZ
from multismolvla.streams import StreamTable

STATUS, CHUNK = "policy/status", "policy/chunk"


def observe(
    bag: RecordedBag,
    table: StreamTable,
    namespace: str,
    name: str,
    scenario: Scenario | None = None,
    until_ns: int | None = None,
) -> Trace | None:
    """Make a trace of a recorded stack; None where no policy node was recorded.

    Args:
        scenario: what the injector did; it began with the first trajectory.
        until_ns: end of the bag that was played: then the stack saw nothing more.
    """
    prefix = f"/{namespace.strip('/')}".rstrip("/")
    statuses = _policy_statuses(bag, f"{prefix}/{STATUS}")
    if until_ns is not None:
        statuses = [entry for entry in statuses if entry[0] <= until_ns]
    if not statuses:
        return None
    plans = _plans(bag, f"{prefix}/{CHUNK}")
    told = _plans(bag, f"{prefix}/{COMMAND}")
    said = Setpoints(
        np.array([plan.times_ns[0] for plan in told], np.int64),
        np.array([plan.targets[0] for plan in told]).reshape(-1, 6),
    )
    step_ns = round(1e9 / CONTROL_HZ)
    ticks_ns = np.arange(statuses[0][0], statuses[-1][0] + 1, step_ns, dtype=np.int64)
    newest = np.searchsorted(np.array([s for s, _ in statuses]), ticks_ns, side="right") - 1
    values = [statuses[number][1] for number in newest.tolist()]
    first, last = values[0], values[-1]
    trace = Trace(
        name,
        table.names,
        ticks_ns,
        said.at(ticks_ns),
        np.array([[v.get(f"mask.{s}") == "1" for s in table.names] for v in values]),
        acting_from_ns=int(said.times_ns[0]) if len(told) else None,
        plans=plans,
        skews_s=_skews_s(bag, table, prefix),
        frames=_frames(bag, table, prefix),
        latencies_s=_latencies_s(values),
        queue_s=np.array([float(v.get("queue_s", 0.0)) for v in values]),
        starved_ticks=int(last.get("starved_ticks", 0)) - int(first.get("starved_ticks", 0)),
        held_ticks=sum(v.get("mode") == "hold" for v in values),
        task_ticks=sum(v.get("task", "") != "" for v in values),
    )
    if trace.acting_from_ns is not None:
        trace.record = _record(trace, scenario or Scenario(name, ()), bag, table, prefix)
    return trace


def _read(bag: RecordedBag, *topics: str) -> Any:
    """Yield (topic, recorder's time, message) of those that the bag has."""
    store = messages.typestore()
    there = [topic for topic in topics if topic in bag.topics]
    for topic, logged_ns, data in bag.messages(there):
        yield topic, logged_ns, store.deserialize_cdr(data, bag.topics[topic].type_name)


def _policy_statuses(bag: RecordedBag, topic: str) -> list[tuple[int, dict[str, str]]]:
    """(stamp, values) in order of their stamps."""
    found = [
        (messages.stamp_of(m.header), {p.key: p.value for p in m.status[0].values})
        for _, _, m in _read(bag, topic)
        if m.status
    ]
    # Before the first /clock a node has no time.
    return sorted((entry for entry in found if entry[0] > 0), key=lambda entry: entry[0])


def _plans(bag: RecordedBag, topic: str) -> list[Plan]:
    """The trajectories of a topic in order of their stamps."""
    plans = []
    for _, logged_ns, message in _read(bag, topic):
        if tuple(message.joint_names) == JOINT_NAMES and message.points:
            times_ns, targets = messages.points(message, logged_ns)
            plans.append(Plan(int(times_ns[0]), times_ns, targets))
    return sorted(plans, key=lambda plan: plan.now_ns)


def _latencies_s(values: list[dict[str, str]]) -> list[float]:
    """Of every inference that a status told of."""
    found, before = [], values[0].get("inferences")
    for value in values:
        if value.get("inferences") != before:
            before = value.get("inferences")
            found.append(float(value["latency_ms"]) * 1e-3)
    return found


def _frames(bag: RecordedBag, table: StreamTable, prefix: str) -> dict[str, int]:
    counts = dict.fromkeys(table.names, 0)
    raw = {f"{prefix}/{name}/image_raw": name for name in table.names}
    there = [topic for topic in raw if topic in bag.topics]
    for topic, _, _ in bag.messages(there):
        counts[raw[topic]] += 1
    return counts


def _stream_state(message: Any) -> str:
    """Name of the state that a stream's status tells, "" where it tells none."""
    values = {p.key: p.value for status in message.status for p in status.values}
    return values.get("state", "")


def _skews_s(bag: RecordedBag, table: StreamTable, prefix: str) -> list[float]:
    """Of the sets that the policy node's synchroniser made of the conditioned images."""
    images = {f"{prefix}/{name}/image": name for name in table.names}
    statuses = {f"{prefix}/{name}/status": name for name in table.names}
    synchronizer = Synchronizer(table.names, round(SLOP_S * 1e9), round(MAX_WAIT_S * 1e9))
    for name in table.names:
        synchronizer.set_alive(name, False, 0)
    sets = []
    for topic, now_ns, message in _read(bag, *images, *statuses):
        while (due_ns := synchronizer.deadline_ns) is not None and due_ns <= now_ns:
            sets += synchronizer.tick(due_ns)
        if topic in images:
            stamp_ns = messages.stamp_of(message.header)
            sets += synchronizer.add(images[topic], stamp_ns, None, now_ns)
        else:
            alive = _stream_state(message) in ("OK", "DEGRADED")
            sets += synchronizer.set_alive(statuses[topic], alive, now_ns)
    return [made.skew_ns * 1e-9 for made in sets]


def _record(
    trace: Trace, scenario: Scenario, bag: RecordedBag, table: StreamTable, prefix: str
) -> FaultRecord:
    """Detection and recovery as the policy node's masks and the sensor nodes' statuses tell."""
    origin_ns = trace.acting_from_ns
    topics = {f"{prefix}/{name}/status": name for name in table.names}
    changes = sorted(
        (
            (messages.stamp_of(message.header), topics[topic], _stream_state(message))
            for topic, _, message in _read(bag, *topics)
        ),
        key=lambda change: change[0],
    )
    schedules = scenario.schedules(table, origin_ns)
    record = FaultRecord(scenario, table)
    states: dict[str, str] = {}
    place = 0
    # Streams that have not come up yet are no false alarms.
    waiting = set(table.names)
    for row, now_ns in enumerate(trace.ticks_ns.tolist()):
        while place < len(changes) and changes[place][0] <= now_ns:
            states[changes[place][1]] = changes[place][2]
            place += 1
        available: Mapping[str, bool] = dict(
            zip(trace.streams, trace.available[row].tolist(), strict=True)
        )
        waiting -= {name for name, used in available.items() if used}
        if now_ns >= origin_ns:
            damaged = {name for name, schedule in schedules.items() if schedule.active(now_ns)}
            damaged |= waiting
            damaged |= {
                stream.name
                for stream in table
                if stream.derived_from and damaged.issuperset(stream.derived_from)
            }
            record.add((now_ns - origin_ns) * 1e-9, available, states, damaged)
    return record
