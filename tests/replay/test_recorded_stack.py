"""What a recorded stack did is read as what a replay does: a trace, written down, comes back."""

from __future__ import annotations

import numpy as np
import pytest
from made_up_recording import EPOCH_NS, at, camera, status, write_recording

from multismolvla.data import bag_messages as messages
from multismolvla.data.recording import open_recording
from multismolvla.embodiment.so101 import SO101
from multismolvla.faults.scenario import Scenario, ScheduledFault
from multismolvla.replay.measures import agreement, agreement_sentence
from multismolvla.replay.recorded_stack import observe
from multismolvla.replay.trace import Trace
from multismolvla.streams import StreamTable, load_stream_table

TABLE = load_stream_table("config/streams.yaml")
CAMERAS = StreamTable(tuple(TABLE[name] for name in ("rgb", "depth")))
TICK_MS, TICKS = 20, 150
# The recorder's clock is an hour ahead: only stamps count.
AHEAD_NS = 3600 * 10**9


@pytest.fixture
def acted():
    """Three seconds; the policy acts from tick 10 on, rgb is masked from tick 60 to 99."""
    ticks_ns = EPOCH_NS + np.arange(TICKS, dtype=np.int64) * TICK_MS * 1_000_000
    targets = np.sin(np.arange(TICKS)[:, None] * 0.02 + np.arange(6))
    targets[:10] = np.nan
    available = np.ones((TICKS, 2), bool)
    available[60:100, 0] = False
    return Trace(
        "acted", SO101.joint_names, CAMERAS.names, ticks_ns, targets, available, int(ticks_ns[10])
    )


def written(acted):
    """Entries of what a stack that did this publishes."""
    entries = camera("/rgb/image", "rgb", count=45, start_ms=0.0)
    entries += camera("/depth/image", "depth", count=45, start_ms=8.0)
    entries += camera("/depth/image_raw", "depth", count=45, start_ms=8.0)
    for tick, row in enumerate(acted.targets):
        time_ms = float(tick * TICK_MS)
        used = acted.available[tick].astype(int).tolist()
        values = {
            "mode": "execute" if tick >= 5 else "hold",
            "task": "wave",
            "queue_s": "0.7",
            "starved_ticks": 5 + tick // 50,
            "inferences": tick // 50,
            "latency_ms": 80.0 + tick // 50,
            **dict(zip(("mask.rgb", "mask.depth"), used, strict=True)),
        }
        entries.append(
            (time_ms, "/policy/status", messages.STATUS, status(time_ms, "", "policy", **values))
        )
        state = "OK" if used[0] else "LOST"
        entries.append((time_ms, "/rgb/status", messages.STATUS, status(time_ms, state)))
        entries.append((time_ms, "/depth/status", messages.STATUS, status(time_ms, "OK", "depth")))
        if tick >= 10:
            command = messages.trajectory(
                at(time_ms), SO101.joint_names, np.zeros(1, np.int64), row[None]
            )
            entries.append((time_ms, "/joint_trajectory", messages.TRAJECTORY, command))
        if tick in (10, 60, 110):
            offsets_ns = np.arange(5) * TICK_MS * 1_000_000
            chunk = messages.trajectory(
                at(time_ms), SO101.joint_names, offsets_ns, np.repeat(row[None], 5, axis=0)
            )
            entries.append((time_ms, "/policy/chunk", messages.TRAJECTORY, chunk))
    return entries


def opened(folder, entries, namespace=""):
    bag = write_recording(folder, entries, EPOCH_NS + AHEAD_NS)
    return open_recording(bag, CAMERAS, SO101, namespace, judged=True)


@pytest.fixture
def recording(acted, tmp_path):
    return opened(tmp_path / "bag", written(acted))


def test_what_was_written_down_comes_back(acted, recording):
    seen = observe(recording, "live")
    np.testing.assert_array_equal(seen.ticks_ns, acted.ticks_ns)
    np.testing.assert_array_equal(seen.available, acted.available)
    np.testing.assert_allclose(seen.targets, acted.targets)
    assert seen.acting_from_ns == acted.acting_from_ns
    assert [plan.now_ns for plan in seen.plans] == [int(acted.ticks_ns[n]) for n in (10, 60, 110)]
    assert seen.latencies_s == pytest.approx([0.081, 0.082])
    assert (seen.starved_ticks, seen.held_ticks, seen.task_ticks) == (2, 5, TICKS)
    assert seen.frames == {"rgb": 0, "depth": 45}
    values = agreement(seen, acted)
    assert values["same_mask"] == 1.0 and values["setpoints_rad"]["worst"] == 0.0
    assert "100.00% of them" in agreement_sentence(values)


def test_the_sets_are_those_of_the_streams_that_were_alive(recording):
    skews_s = observe(recording, "live").skews_s
    assert len(skews_s) > 40 and set(np.round(skews_s, 6)) == {0.0, 0.008}
    # While rgb was lost, depth was alone in its sets.
    assert 10 <= np.count_nonzero(np.array(skews_s) < 0.001) <= 14


def test_disagreement_is_measured(acted, recording):
    seen = observe(recording, "live")
    acted.available[60:74, 0] = True
    acted.targets[:, 2] += 0.6
    values = agreement(seen, acted)
    assert values["same_mask_least"] == pytest.approx(1.0 - 14 / 140)
    assert values["setpoints_rad"]["mean"] == pytest.approx(0.1)
    assert values["setpoints_rad"]["worst"] == pytest.approx(0.6)


def test_two_that_never_act_together_are_not_compared(acted, recording):
    seen = observe(recording, "live")
    acted.acting_from_ns = None
    assert agreement(seen, acted) == {"ticks": 0}
    acted.acting_from_ns = int(acted.ticks_ns[-1]) + 10**9
    acted.ticks_ns = acted.ticks_ns + 10**10
    assert agreement_sentence(agreement(seen, acted)).startswith("no tick in common")


def test_an_injected_fault_is_found_in_a_recording(recording):
    # Tick 60 is one second after the first trajectory.
    scenario = Scenario("made up", (ScheduledFault("rgb", "drop", 0.9, 0.7),))
    record = observe(recording, "live", scenario).record
    (result,) = record.results
    assert result.masked_after_s == result.warned_after_s == pytest.approx(0.1, abs=0.011)
    assert result.recovered_after_s == pytest.approx(0.2, abs=0.011)
    assert record.false_alarms == 0
    assert observe(recording, "live").record.false_alarms == 1


def test_statuses_that_stay_away_are_a_warning_as_they_are_live(acted, tmp_path):
    """The node died with its last word OK: the policy node took that for a loss, too."""
    acted.available[:] = True
    entries = [e for e in written(acted) if e[1] != "/rgb/status" or e[0] < 500.0]
    scenario = Scenario("made up", (ScheduledFault("rgb", "drop", 0.3),))
    (result,) = observe(opened(tmp_path / "dead", entries), "live", scenario).record.results
    # From 0.5 s on 1.8 s and a second look; the fault began 0.3 s after the first trajectory.
    assert result.warned_after_s == pytest.approx(1.8, abs=0.1)


def test_after_the_end_of_the_bag_nothing_counts(acted, recording):
    end_ns = int(acted.ticks_ns[40])
    assert observe(recording, "live", until_ns=end_ns).ticks_ns[-1] == end_ns
    assert observe(recording, "live", until_ns=EPOCH_NS - 1) is None


def test_a_policy_that_never_acted_has_no_detection(acted, tmp_path):
    idle = [e for e in written(acted) if e[1] != "/joint_trajectory"]
    seen = observe(opened(tmp_path / "idle", idle), "live")
    assert seen.acting_from_ns is None and seen.record is None
    assert np.isnan(seen.targets).all()


def test_a_bag_without_a_stack_has_no_trace(tmp_path):
    cameras = camera("/elsewhere/rgb/image", "rgb", count=3)
    assert observe(opened(tmp_path / "bag", cameras, "elsewhere"), "live") is None
