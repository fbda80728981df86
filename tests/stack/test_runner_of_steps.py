"""An arm that is commanded by steps of its gripper, from policy to the actions that it gets."""

import numpy as np
import pytest

from multismolvla.control.delta_safety import DeltaCommand, DeltaFilter, DeltaLimits
from multismolvla.control.safety import SafetyState
from multismolvla.control.trajectory import TrajectoryError
from multismolvla.embodiment.panda import PANDA
from multismolvla.interfaces import ActionChunk
from multismolvla.stack.delayed_inference import DelayedInference
from multismolvla.stack.policy_runner import PolicyRunner
from multismolvla.stack.settings import PolicySettings
from multismolvla.streams import Stream, StreamTable

TABLE = StreamTable((Stream("agentview/rgb", "rgb", 6, 8, 20.0, "agentview_optical_frame"),))
PERIOD_NS, METRES = 50_000_000, 0.05
GOAL = 0.3


class Reach:
    """Goes to `GOAL` along x in steps of at most 1 and grasps, from where the state says it is."""

    period_s = 0.05

    def reset(self):
        pass

    def infer(self, observation):
        actions = np.zeros((20, 7))
        actions[:, 6] = 1.0
        x = observation.state[0]
        for action in actions:
            action[0] = np.clip((GOAL - x) / METRES, -0.5, 0.5)
            x += action[0] * METRES
        return ActionChunk(observation.stamp_ns, self.period_s, actions)


class Arm:
    """Moves by what it is sent, through the safety filter."""

    def __init__(self, policy, **settings):
        self.runner = PolicyRunner(
            policy,
            PANDA.action_names,
            TABLE,
            PolicySettings(min_visual_streams=1, **settings),
            space=PANDA.action,
        )
        self.filter = DeltaFilter(DeltaLimits(PANDA.action))
        self.now_ns, self.state, self.sent, self.sees = 10**9, np.zeros(8), [], True

    def run(self, periods, latency_s=0.0):
        inference = DelayedInference(self.runner, latency_s)
        for _ in range(periods):
            self.now_ns += PERIOD_NS
            now_ns, view = self.now_ns, self.runner.view
            view.states.add(now_ns, self.state.copy())
            statuses = {"agentview/rgb": ("OK" if self.sees else "LOST", "")}
            if self.sees:
                view.on_set(now_ns, now_ns, {"agentview/rgb": np.zeros((6, 8, 3), np.uint8)}, {})
            inference.take_answer(now_ns)
            tick = self.runner.tick(now_ns, statuses)
            if tick.request is not None:
                inference.start(tick.request, now_ns, statuses)
            command = None if tick.targets is None else DeltaCommand(now_ns, tick.targets[0])
            delta = self.filter.step(now_ns, command)
            self.sent.append(delta.action)
            self.state[0] += METRES * delta.action[0]
        return delta


@pytest.mark.parametrize("latency_s", [0.0, 0.05, 0.2, 0.6])
@pytest.mark.parametrize("entry", ["nearest", "stamp"])
def test_the_arm_arrives_whatever_the_latency_and_does_not_overshoot(latency_s, entry):
    arm = Arm(Reach(), chunk_entry=entry)
    arm.runner.give_task("grasp it")
    arm.run(60, latency_s)
    assert arm.state[0] == pytest.approx(GOAL, abs=1e-6)
    assert max(np.cumsum([METRES * action[0] for action in arm.sent])) <= GOAL + 1e-9
    assert arm.sent[-1][6] == 1.0


def test_the_control_period_is_the_arm_s_own():
    assert Arm(Reach(), control_rate_hz=50.0).runner.step_ns == PERIOD_NS


def test_a_hold_stops_the_arm_at_once_and_keeps_the_gripper_closed():
    arm = Arm(Reach())
    arm.runner.give_task("grasp it")
    arm.run(5)
    before, arm.sees = arm.state[0], False
    arm.run(20)
    assert arm.runner.mode.name == "hold"
    assert before < GOAL / 2 and arm.state[0] - before <= METRES
    assert not arm.sent[-1][:6].any() and arm.sent[-1][6] == 1.0
    arm.sees = True
    arm.run(40)
    assert arm.state[0] == pytest.approx(GOAL, abs=1e-6)


def test_a_task_that_ends_leaves_an_arm_that_is_held_still():
    arm = Arm(Reach())
    arm.runner.give_task("grasp it")
    arm.run(4)
    arm.runner.give_task("")
    before = arm.state[0]
    delta = arm.run(20)
    assert arm.state[0] == before and delta.state is SafetyState.HOLD


def test_chunks_of_another_period_move_nothing_and_are_reported():
    policy = Reach()
    policy.period_s = 1 / 30
    arm = Arm(policy)
    arm.runner.give_task("grasp it")
    arm.run(10)
    assert not arm.state.any()
    assert "a step every 0.03333 s; expected 0.05 s" in arm.runner.problem


def test_steps_never_become_a_joint_trajectory():
    with pytest.raises(TrajectoryError, match="commanded by steps"):
        Arm(Reach()).runner.trajectory(0, np.zeros((1, 7)))
