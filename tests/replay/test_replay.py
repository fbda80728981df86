"""A bag through the cores again: the same twice, broken on purpose, from other stacks."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from multismolvla.cli import main
from multismolvla.data.bag import PERIOD_NS, write_episode
from multismolvla.data.recording import open_recording
from multismolvla.embodiment.so101 import SO101
from multismolvla.faults.scenario import Scenario, ScheduledFault
from multismolvla.interfaces import ActionChunk
from multismolvla.replay.measures import action_error, mask_onsets
from multismolvla.replay.one_pass import ReplaySettings, replay
from multismolvla.replay.trace import Setpoints
from multismolvla.sim.expert_policy import ExpertPolicy
from multismolvla.stack.policy_loading import committed_s
from multismolvla.stack.settings import PolicySettings, StackSettings
from multismolvla.streams import StreamTable, load_stream_table
from multismolvla.training.demonstrations.demonstration import DemonstrationRecorder

CONFIG = Path(__file__).parents[2] / "config"
TABLE = load_stream_table(CONFIG / "streams.yaml")
CAMERAS = StreamTable(
    tuple(replace(TABLE[name], height=48, width=48) for name in ("rgb", "depth", "thermal"))
)


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    """An episode of the expert, three cameras at 15 Hz, every message at its stamp."""
    folder = tmp_path_factory.mktemp("bags") / "demo"
    with closing(DemonstrationRecorder(CAMERAS, CAMERAS.names)) as recorder:
        write_episode(folder, recorder.record("red_cube_in_bin", 1, 0.0, max_steps=90))
    return folder


@pytest.fixture(scope="module")
def source(bag):
    return open_recording(bag, CAMERAS, SO101)


def run(source, *faults: ScheduledFault, clean=None, min_visual_streams=1, **settings):
    scenario = Scenario("made up", faults) if faults else None
    own = PolicySettings(min_visual_streams=min_visual_streams)
    settings["stack"] = StackSettings(policy=own)
    policy = ExpertPolicy(committed_s(0.1))
    return replay(source, policy, ReplaySettings(**settings), None, scenario, clean)


@pytest.fixture(scope="module")
def clean(source):
    return run(source)


class Parrot:
    """Commands what was recorded for each instant."""

    def __init__(self, source):
        self._recorded = Setpoints(*source.commands())
        self._last = self._recorded.times_ns[-1]

    def infer(self, observation):
        times = observation.stamp_ns + np.arange(50) * PERIOD_NS
        actions = self._recorded.at(np.minimum(times, self._last))
        return ActionChunk(observation.stamp_ns, PERIOD_NS * 1e-9, actions)

    def reset(self):
        pass


def test_what_is_said_belongs_to_the_instants_that_it_was_recorded_for(source):
    parrot = replay(source, Parrot(source), ReplaySettings())
    # After the first crossfade, which begins where the arm is.
    from_ns = parrot.acting_from_ns + 300_000_000
    error = action_error(parrot, Setpoints(*source.commands()), from_ns)
    assert error.ticks > 60 and max(error.worst.values()) < 1e-6
    assert max(mean for _, mean, _ in error.by_horizon) < 1e-6


def test_a_clean_pass_masks_nothing_and_acts_soon(source, clean):
    assert clean.error == "" and clean.starved_ticks == 0
    # Five good frames bring the cameras into use, then comes the first inference.
    acting_s = (clean.acting_from_ns - clean.ticks_ns[0]) * 1e-9
    assert 0.3 < acting_s < 0.7
    assert mask_onsets(clean, clean.acting_from_ns) == []
    assert max(clean.skews_s) == 0.0 and clean.frames["rgb"] >= 36
    error = action_error(clean, Setpoints(*source.commands()), clean.acting_from_ns)
    # The expert repeats what it has committed itself to, here nothing, before it moves on.
    assert error.ticks > 80 and 0.01 < error.overall < 0.3
    horizons = [entry[0] for entry in error.by_horizon]
    assert horizons[0] == 0.0 and len(horizons) >= 4


def test_two_passes_are_the_same(source, clean):
    fault = ScheduledFault("rgb", "burst_loss", 0.2, severity=4)
    for first, again in (
        (clean, run(source)),
        (run(source, fault, clean=clean), run(source, fault, clean=clean)),
    ):
        np.testing.assert_array_equal(first.targets, again.targets)
        np.testing.assert_array_equal(first.available, again.available)
        assert first.record.results == again.record.results


def test_a_fault_is_masked_and_forgotten_and_nothing_else_is(source, clean):
    trace = run(source, ScheduledFault("rgb", "drop", 0.5, 0.8), clean=clean)
    (result,) = trace.record.results
    assert 0.06 < result.masked_after_s < 0.25
    assert 0.3 < result.recovered_after_s < 0.5
    assert trace.record.false_alarms == 0
    others = [CAMERAS.names.index(name) for name in ("depth", "thermal")]
    assert trace.available[trace.ticks_ns >= trace.acting_from_ns][:, others].all()


def test_what_was_lost_in_the_recording_already_is_neither_found_nor_a_false_alarm(source, clean):
    available = clean.available.copy()
    available[:, CAMERAS.names.index("rgb")] = False
    lost = replace(clean, available=available)
    trace = run(source, ScheduledFault("rgb", "drop", 0.5, 0.8), clean=lost)
    (result,) = trace.record.results
    assert result.masked_after_s is None and trace.record.false_alarms == 0


def test_everything_lost_holds_the_arm(source, clean):
    trace = run(source, ScheduledFault("all", "drop", 0.5), clean=clean)
    assert trace.held_ticks > clean.held_ticks + 40
    assert np.isnan(trace.targets[-1]).all() and np.isfinite(clean.targets[-1]).all()


def test_faults_of_a_policy_that_never_acts_have_no_beginning(source):
    blind = run(source, min_visual_streams=3, task="")
    broken = replace(blind, acting_from_ns=None)
    with pytest.raises(ValueError, match="no start"):
        run(source, ScheduledFault("rgb", "drop"), clean=broken)


def test_the_command_writes_the_same_results_twice(bag, tmp_path, capsys):
    table = tmp_path / "streams.yaml"
    table.write_text(
        "streams:\n"
        + "".join(
            f"  - {{name: {s.name}, kind: {s.kind}, height: 48, width: 48, rate_hz: 15.0, "
            f"frame_id: {s.frame_id}}}\n"
            for s in CAMERAS
        )
    )
    scenario = tmp_path / "loss.yaml"
    scenario.write_text("faults:\n  - {stream: rgb, fault: drop, start: 0.3, duration: 0.5}\n")
    common = ["replay", str(bag), "--policy", "expert", "--streams", str(table)]
    common += ["--faults", str(scenario), "--fault", "thermal:noise:5", "--fault-start", "0.3"]
    for out in ("a", "b"):
        assert main([*common, "--out", str(tmp_path / out)]) == 0
    assert "times real time (" in capsys.readouterr().out
    first, again = (tmp_path / out / "results.jsonl" for out in ("a", "b"))
    assert first.read_bytes() == again.read_bytes()
    head, *passes = map(json.loads, first.read_text().splitlines())
    assert head["missing"] == [] and head["labels"] == "recorded"
    assert [line["pass"] for line in passes] == ["clean", "loss", "thermal:noise-5"]
    assert passes[0]["false_alarms"] == 0 and passes[1]["faults"][0]["masked_after_s"] < 0.25
    assert passes[1]["availability"]["rgb"] < passes[0]["availability"]["rgb"] == 1.0
    report = (tmp_path / "a" / "report.md").read_text()
    assert "`thermal:noise-5`" in report and "Action error by horizon" in report
    for name in ("timeline.png", "severity.png", "availability.png"):
        assert cv2.imread(str(tmp_path / "a" / name)).std() > 5
