"""What a recorded stack did is read as what a replay does: a trace, written down, comes back."""

from __future__ import annotations

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer

from multismolvla.data import bag_messages as messages
from multismolvla.data.recorded_bag import open_bag
from multismolvla.faults.scenario import Scenario, ScheduledFault
from multismolvla.replay.agreement import agreement, sentence
from multismolvla.replay.live_trace import observe
from multismolvla.replay.trace import Trace
from multismolvla.streams import StreamTable, load_stream_table

TABLE = load_stream_table("config/streams.yaml")
EYES = StreamTable(tuple(TABLE[name] for name in ("rgb", "depth")))
START_NS, TICK_NS = 10**18, 20_000_000
TICKS = 150
# The recorder's clock is an hour ahead: only stamps count.
AHEAD_NS = 3600 * 10**9


def status(stamp_ns, name, values):
    types = messages.typestore().types
    pairs = [types["diagnostic_msgs/msg/KeyValue"](k, str(v)) for k, v in values.items()]
    one = types["diagnostic_msgs/msg/DiagnosticStatus"](0, name, "", "", pairs)
    return messages.serialize(
        types[messages.STATUS](messages.header(stamp_ns), [one]), messages.STATUS
    )


@pytest.fixture
def acted():
    """Three seconds; the policy acts from tick 10 on, rgb is masked from tick 60 to 99."""
    ticks_ns = START_NS + np.arange(TICKS, dtype=np.int64) * TICK_NS
    targets = np.sin(np.arange(TICKS)[:, None] * 0.02 + np.arange(6))
    targets[:10] = np.nan
    available = np.ones((TICKS, 2), bool)
    available[60:100, 0] = False
    return Trace("acted", EYES.names, ticks_ns, targets, available, int(ticks_ns[10]))


@pytest.fixture
def bag(acted, tmp_path):
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:

        def add(topic, kind):
            return writer.add_connection(topic, kind, typestore=messages.typestore())

        policy, rgb = add("/policy/status", messages.STATUS), add("/rgb/status", messages.STATUS)
        told = add("/joint_trajectory", messages.TRAJECTORY)
        chunks = add("/policy/chunk", messages.TRAJECTORY)
        for tick, now_ns in enumerate(acted.ticks_ns.tolist()):
            used = acted.available[tick]
            values = {
                "mode": "execute",
                "task": "wave",
                "queue_s": "0.7",
                "starved_ticks": 5 + tick // 50,
                "inferences": tick // 50,
                "latency_ms": 80.0 + tick // 50,
                "mask.rgb": int(used[0]),
                "mask.depth": int(used[1]),
            }
            writer.write(policy, now_ns + AHEAD_NS, status(now_ns, "policy", values))
            state = "OK" if used[0] else "LOST"
            writer.write(rgb, now_ns + AHEAD_NS, status(now_ns, "rgb", {"state": state}))
            if tick >= 10:
                row = acted.targets[tick : tick + 1]
                command = messages.trajectory(now_ns, np.zeros(1, np.int64), row)
                writer.write(told, now_ns + AHEAD_NS, command)
            if tick in (10, 60, 110):
                rows = np.repeat(acted.targets[tick : tick + 1], 5, axis=0)
                chunk = messages.trajectory(now_ns, np.arange(5) * TICK_NS, rows)
                writer.write(chunks, now_ns + AHEAD_NS, chunk)
    return open_bag(tmp_path / "bag")


def test_what_was_written_down_comes_back(acted, bag):
    seen = observe(bag, EYES, "", "live")
    np.testing.assert_array_equal(seen.ticks_ns, acted.ticks_ns)
    np.testing.assert_array_equal(seen.available, acted.available)
    np.testing.assert_allclose(seen.targets, acted.targets)
    assert seen.acting_from_ns == acted.acting_from_ns
    assert [plan.now_ns for plan in seen.plans] == [int(acted.ticks_ns[n]) for n in (10, 60, 110)]
    assert seen.latencies_s == pytest.approx([0.081, 0.082])
    assert (seen.starved_ticks, seen.held_ticks, seen.task_ticks) == (2, 0, TICKS)
    values = agreement(seen, acted)
    assert values["same_mask"] == 1.0 and values["setpoints_rad"]["worst"] == 0.0
    assert "100.00% of them" in sentence(values)


def test_disagreement_is_measured(acted, bag):
    seen = observe(bag, EYES, "", "live")
    acted.available[60:74, 0] = True
    acted.targets[:, 2] += 0.6
    values = agreement(seen, acted)
    assert values["same_mask_least"] == pytest.approx(1.0 - 14 / 140)
    assert values["setpoints_rad"]["mean"] == pytest.approx(0.1)
    assert values["setpoints_rad"]["worst"] == pytest.approx(0.6)


def test_an_injected_fault_is_found_in_a_recording(acted, bag):
    # Tick 60 is one second after the first trajectory.
    scenario = Scenario("made up", (ScheduledFault("rgb", "drop", 0.9, 0.7),))
    record = observe(bag, EYES, "", "live", scenario).record
    (result,) = record.results
    assert result.masked_after_s == pytest.approx(0.1, abs=0.011)
    assert result.recovered_after_s == pytest.approx(0.2, abs=0.011)
    assert record.false_alarms == 0
    assert observe(bag, EYES, "", "live").record.false_alarms == 1


def test_after_the_end_of_the_bag_nothing_counts(acted, bag):
    end_ns = int(acted.ticks_ns[40])
    assert observe(bag, EYES, "", "live", until_ns=end_ns).ticks_ns[-1] == end_ns


def test_a_bag_without_a_stack_has_no_trace(bag):
    assert observe(bag, EYES, "elsewhere", "live") is None
