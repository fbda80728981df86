"""What a stack did while it was recorded, in the form of a pass of a replay.

All times are stamps of its messages, so that they are on the clock of the images whether the stack
ran on the system's time or on that of a bag that was played to it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from multismolvla.data import bag_messages as messages
from multismolvla.data.recording import COMMAND, STATUS, Recording
from multismolvla.faults.record import FaultRecord
from multismolvla.faults.scenario import Scenario
from multismolvla.replay.trace import Plan, Setpoints, Trace
from multismolvla.sensing.reported_health import ReportedHealth, StreamStatus, parse_status
from multismolvla.sensing.synchronizer import SynchronizedSet
from multismolvla.stack.recorded_perception import perceived
from multismolvla.stack.settings import PolicySettings

POLICY_STATUS, CHUNK = "policy/status", "policy/chunk"


def observe(
    recording: Recording,
    name: str,
    scenario: Scenario | None = None,
    until_ns: int | None = None,
    settings: PolicySettings | None = None,
) -> Trace | None:
    """Make a trace of a recorded stack; None where no policy node was recorded.

    Args:
        recording: opened with what its sensor nodes passed on (`judged`).
        name: of the pass.
        scenario: what the injector did; it began with the first trajectory.
        until_ns: end of the bag that was played: then the stack saw nothing more.
        settings: of its policy node; the defaults where None.
    """
    settings = settings or PolicySettings()
    table = recording.table
    statuses = _policy_statuses(recording)
    if until_ns is not None:
        statuses = [entry for entry in statuses if entry[0] <= until_ns]
    if not statuses:
        return None
    sent = _plans(recording, COMMAND)
    commands = Setpoints(
        np.array([plan.times_ns[0] for plan in sent], np.int64),
        np.array([plan.targets[0] for plan in sent]).reshape(-1, len(recording.joints)),
    )
    step_ns = round(1e9 / settings.control_rate_hz)
    ticks_ns = np.arange(statuses[0][0], statuses[-1][0] + 1, step_ns, dtype=np.int64)
    newest = np.searchsorted(np.array([s for s, _ in statuses]), ticks_ns, side="right") - 1
    values = [statuses[number][1] for number in newest.tolist()]
    first, last = values[0], values[-1]
    raw = [f"{recording.prefix}/{stream}/image_raw" for stream in table.names]
    trace = Trace(
        name,
        recording.joints,
        table.names,
        ticks_ns,
        commands.at(ticks_ns),
        np.array([[v.get(f"mask.{s}") == "1" for s in table.names] for v in values]),
        acting_from_ns=int(commands.times_ns[0]) if sent else None,
        plans=_plans(recording, CHUNK),
        skews_s=[
            made.skew_ns * 1e-9
            for made in perceived(recording)
            if isinstance(made, SynchronizedSet)
        ],
        frames={
            stream: sum(1 for _ in recording.bag.messages([topic]))
            for stream, topic in zip(table.names, raw, strict=True)
        },
        latencies_s=_latencies_s(values),
        queue_s=np.array([float(v.get("queue_s", 0.0)) for v in values]),
        starved_ticks=int(last.get("starved_ticks", 0)) - int(first.get("starved_ticks", 0)),
        held_ticks=sum(v.get("mode") == "hold" for v in values),
        task_ticks=sum(v.get("task", "") != "" for v in values),
    )
    if trace.acting_from_ns is not None:
        trace.record = _record(trace, scenario or Scenario(name, ()), recording)
    return trace


def _policy_statuses(recording: Recording) -> list[tuple[int, dict[str, str]]]:
    """(stamp, values) in order of their stamps."""
    found = [
        (messages.stamp_of(message.header), messages.status_values(message))
        for _, _, message in messages.decoded(recording.bag, f"{recording.prefix}/{POLICY_STATUS}")
    ]
    # Before the first /clock a node has no time.
    return sorted((entry for entry in found if entry[0] > 0), key=lambda entry: entry[0])


def _plans(recording: Recording, topic: str) -> list[Plan]:
    """The trajectories of a topic in order of their stamps."""
    found = recording.trajectories(f"{recording.prefix}/{topic}")
    return [Plan(int(times_ns[0]), times_ns, targets) for times_ns, targets in found]


def _latencies_s(values: list[dict[str, str]]) -> list[float]:
    """Of every inference that a status reports."""
    found, before = [], values[0].get("inferences")
    for value in values:
        if value.get("inferences") != before:
            before = value.get("inferences")
            found.append(float(value["latency_ms"]) * 1e-3)
    return found


def _reports(recording: Recording) -> list[tuple[int, str, StreamStatus]]:
    """(stamp, stream, status) of the sensor nodes in order of their stamps."""
    found = []
    for stream in recording.table.names:
        topic = f"{recording.prefix}/{stream}{STATUS}"
        for _, _, message in messages.decoded(recording.bag, topic):
            try:
                status = parse_status(messages.status_values(message))
            except ValueError:
                continue  # The policy node ignored it, too.
            found.append((messages.stamp_of(message.header), stream, status))
    return sorted(found, key=lambda report: report[0])


def _record(trace: Trace, scenario: Scenario, recording: Recording) -> FaultRecord:
    """Detection and recovery from the policy node's masks and the sensor nodes' statuses."""
    table, origin_ns = recording.table, trace.acting_from_ns
    schedules = scenario.schedules(table, origin_ns)
    record = FaultRecord(scenario, table)
    health = {name: ReportedHealth() for name in table.names}
    reports: list[Any] = _reports(recording)[::-1]
    # Streams that have not come up yet are no false alarms.
    waiting = set(table.names)
    for row, now_ns in enumerate(trace.ticks_ns.tolist()):
        while reports and reports[-1][0] <= now_ns:
            stamp_ns, name, status = reports.pop()
            health[name].on_status(status, stamp_ns)
        for judge in health.values():
            judge.tick(now_ns)
        available = dict(zip(trace.streams, trace.available[row].tolist(), strict=True))
        waiting -= {name for name, used in available.items() if used}
        if now_ns >= origin_ns:
            damaged = {name for name, schedule in schedules.items() if schedule.active(now_ns)}
            damaged |= waiting
            damaged |= {
                stream.name
                for stream in table
                if stream.derived_from and damaged.issuperset(stream.derived_from)
            }
            states = {name: judge.state.name for name, judge in health.items()}
            record.add((now_ns - origin_ns) * 1e-9, available, states, damaged)
    return record
