"""The dry run against a policy that says how long it takes."""

import math

import numpy as np
import pytest

from multismolvla.embodiment.so101 import SO101
from multismolvla.interfaces import ActionChunk
from multismolvla.modalities.registry import kinds
from multismolvla.policy.dry_run import BUDGET_S, REPEATS, dry_run
from multismolvla.streams import Stream

STREAMS = tuple(Stream(kind, kind, 24, 32, 15.0, "camera_optical_frame") for kind in kinds())


class TimedPolicy:
    """Takes `seconds` per stream in use on its own clock, and `extra` the first time."""

    def __init__(self, seconds: float, extra: float = 0.0) -> None:
        self.seconds, self.extra = seconds, extra
        self.now = 100.0
        self.observations, self.resets = [], 0

    def infer(self, observation):
        self.now += self.seconds * sum(observation.mask.values())
        self.now += 0.0 if self.observations else self.extra
        self.observations.append(observation)
        return ActionChunk(observation.stamp_ns, 0.1, np.zeros((20, len(SO101.joint_names))))

    def reset(self):
        self.resets += 1

    def report(self):
        return dry_run(
            self, STREAMS, SO101.home_rad, parameters=7, load_s=1.5, clock=lambda: self.now
        )


def test_the_report_tells_the_first_chunk_from_the_others():
    policy = TimedPolicy(0.01, extra=0.5)
    report = policy.report()
    assert report.first_s == pytest.approx(0.54)
    assert report.median_s == pytest.approx(0.04)
    assert report.one_stream_s == pytest.approx(0.01)
    assert (report.load_s, report.parameters) == (1.5, 7)
    assert (report.chunk_size, report.period_s) == (20, 0.1)
    assert len(policy.observations) == 1 + 2 * REPEATS


def test_the_memory_is_that_of_the_process():
    held = np.ones(8_000_000)
    assert held.nbytes < TimedPolicy(0.01).report().peak_memory_bytes < 100e9


def test_a_slow_policy_is_asked_once():
    policy = TimedPolicy(BUDGET_S)
    report = policy.report()
    assert len(policy.observations) == 1
    assert report.median_s == report.first_s
    assert report.one_stream_s is None


def test_a_middling_policy_is_not_asked_for_long():
    policy = TimedPolicy(BUDGET_S / 8)
    report = policy.report()
    assert len(policy.observations) == 3
    assert not math.isclose(report.one_stream_s, report.median_s)


def test_the_observations_are_of_every_stream_and_never_the_same_twice():
    policy = TimedPolicy(0.01)
    policy.report()
    first, second = policy.observations[:2]
    assert all(first.mask.values())
    for stream in STREAMS:
        shape = (24, 32, 3) if stream.kind == "rgb" else (24, 32)
        assert first.frames[stream.name].shape == shape
        assert not np.array_equal(first.frames[stream.name], second.frames[stream.name])
    alone = policy.observations[2]
    assert [name for name, usable in alone.mask.items() if usable] == ["rgb"]
    assert alone.frames["depth"] is None


def test_the_policy_is_reset_afterwards():
    policy = TimedPolicy(0.01)
    policy.report()
    assert policy.resets == 1
