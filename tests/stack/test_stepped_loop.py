"""The loop of a world that waits, with a world and cameras of a few lines: no wheels needed."""

from types import SimpleNamespace

import numpy as np
import pytest

from multismolvla.embodiment.panda import PANDA, PERIOD_S
from multismolvla.faults.delivery_queue import FaultSchedule
from multismolvla.faults.fault import TimedFault
from multismolvla.faults.registry import find_fault
from multismolvla.interfaces import ActionChunk
from multismolvla.stack import stepped_loop
from multismolvla.stack.episode import Episode
from multismolvla.stack.settings import load_settings, shipped_config
from multismolvla.stack.stepped_loop import INSTRUCTION_NS, SteppedLoop
from multismolvla.streams import StreamTable, load_stream_table

TABLE = load_stream_table(shipped_config() / "libero" / "streams.yaml")
# Without labels, which a network would have to make.
TABLE = StreamTable(tuple(stream for stream in TABLE if not stream.derived_from))
ROWS = 8
HORIZON = 30


class World:
    """Counts steps and remembers actions; the task is done after `enough` of them."""

    embodiment = PANDA
    enough = HORIZON + 1

    def __init__(self):
        self.task = SimpleNamespace(instruction="wait", horizon=HORIZON, suite="object")
        self.model, self.steps = object(), 0

    def begin(self, task, seed):
        self.actions, self.steps = [], 0

    def state(self):
        return np.full(8, 0.01 * self.steps)

    def step(self, action):
        self.actions.append(np.array(action))
        self.steps += 1

    def success(self):
        return self.steps >= self.enough

    def snapshot(self, into):
        """Nothing to draw."""


class Cameras:
    """Noise: no two frames are the same."""

    def __init__(self):
        self._rng = np.random.default_rng(0)

    def reseed(self, seed):
        self._rng = np.random.default_rng(seed)

    def render(self, data, names, time_s):
        return {name: self._frame(name) for name in names}

    def _frame(self, name):
        noise = self._rng.normal(0.0, 1.0, (96, 96))
        kind, ramp = name.rpartition("/")[2], np.linspace(0.0, 1.0, 96)
        if kind == "rgb":
            grey = 60 + 120 * ramp + 4 * noise
            return np.repeat(grey[..., None], 3, axis=2).clip(0, 255).astype(np.uint8)
        if kind == "depth":
            return (0.5 + 0.5 * ramp + 0.002 * noise).astype(np.float32)
        return (20.0 + 10 * ramp + 0.05 * noise).astype(np.float32)

    def close(self):
        """Nothing to release."""


class Policy:
    """Row k of the n-th chunk, counted from 1, commands 0.1 k and 0.01 n."""

    def reset(self):
        self.seen = []

    def infer(self, observation):
        self.seen.append(observation)
        actions = np.zeros((ROWS, 7))
        actions[:, 0] = 0.1 * np.arange(ROWS)
        actions[:, 1] = 0.01 * len(self.seen)
        return ActionChunk(observation.stamp_ns, PERIOD_S, actions)


@pytest.fixture
def loop(monkeypatch):
    monkeypatch.setattr(stepped_loop, "LiberoWorld", World)
    monkeypatch.setattr(stepped_loop, "libero_cameras", lambda *args, **options: Cameras())
    monkeypatch.setattr(stepped_loop.mujoco, "MjData", lambda model: None)
    return SteppedLoop(TABLE, load_settings(shipped_config() / "libero"))


def commanded(loop) -> list[tuple[int, int]]:
    """(chunk, row) that each step executed; chunk 0 for an arm that is held still."""
    return [(round(100 * a[1]), round(10 * a[0])) for a in loop.world.actions]


def test_every_step_executes_one_row_of_what_was_just_seen(loop):
    policy = Policy()
    ended = loop.run(policy, Episode("wait", 0, latency_s=0.0))
    assert not ended.success and len(loop.world.actions) == HORIZON
    # The next chunk once less than 0.7 of the last is left; it begins in the step that asked.
    assert commanded(loop) == [(1 + step // 3, step % 3) for step in range(HORIZON)]
    assert ended.policy.starved_ticks == 0
    for number, observation in enumerate(policy.seen):
        assert observation.stamp_ns == INSTRUCTION_NS + number * 150_000_000
        np.testing.assert_allclose(observation.state, 0.03 * number, atol=1e-12)
        assert all(observation.mask.values()) and observation.task == "wait"


def test_success_ends_the_episode(loop, monkeypatch):
    monkeypatch.setattr(World, "enough", 7)
    ended = loop.run(Policy(), Episode("wait", 0, latency_s=0.0))
    assert ended.success and len(loop.world.actions) == 7
    assert ended.duration_s == pytest.approx(7 * PERIOD_S)


def test_the_same_episode_repeats_itself(loop):
    ends = []
    for _ in range(2):
        policy = Policy()
        loop.run(policy, Episode("wait", 3, latency_s=0.0))
        ends.append((commanded(loop), [o.frames["wrist/rgb"].tobytes() for o in policy.seen]))
    assert ends[0] == ends[1]


def test_with_latency_the_world_goes_on_and_rows_are_not_repeated(loop):
    loop.run(Policy(), Episode("wait", 0, latency_s=0.15))
    steps = commanded(loop)
    # Nothing is known at first: the arm is held still by steps of zero.
    assert steps[:3] == [(0, 0)] * 3 and all(chunk for chunk, _ in steps[3:])
    assert len(set(steps[3:])) == len(steps[3:])
    assert steps[3:] == sorted(steps[3:])


def test_a_lost_stream_is_masked_within_the_episode(loop):
    lost_ns = INSTRUCTION_NS + 500_000_000
    drop = TimedFault(find_fault("drop")("rgb", 1), lost_ns)
    policy = Policy()
    loop.run(policy, Episode("wait", 0, {"agentview/rgb": FaultSchedule([drop])}, latency_s=0.0))
    for observation in policy.seen:
        if observation.stamp_ns < lost_ns:
            assert observation.mask["agentview/rgb"]
        elif observation.stamp_ns >= lost_ns + 200_000_000:
            assert not observation.mask["agentview/rgb"]
        assert observation.mask["wrist/rgb"]


def test_without_any_stream_the_arm_holds_still(loop):
    drops = {
        stream.name: FaultSchedule([TimedFault(find_fault("drop")(stream.kind, 1), 0)])
        for stream in TABLE
    }
    ended = loop.run(Policy(), Episode("wait", 0, drops, latency_s=0.0))
    assert ended.policy.inferences == 0 and commanded(loop) == [(0, 0)] * HORIZON
