"""A tick of the policy loop: when it holds, when it asks, and what a loss and a new task do."""

import numpy as np
import pytest

from multismolvla.control.action_queue import ActionQueue, latest_only
from multismolvla.control.inference import (
    RETRY_NS,
    Inference,
    InferenceSchedule,
    ObservationFilter,
    RefillThreshold,
)
from multismolvla.control.policy_loop import Playback, PolicyLoop
from multismolvla.control.policy_view import PolicyView, StreamGate, StreamMask
from multismolvla.embodiment.so101 import SO101
from multismolvla.interfaces import ActionChunk
from multismolvla.streams import Stream, StreamTable

S, STEP_NS = 1_000_000_000, 20_000_000
TABLE = StreamTable(
    tuple(Stream(kind, kind, 4, 4, 15.0, "camera_optical_frame") for kind in ("rgb", "depth"))
)


def mask(*available: str) -> StreamMask:
    return StreamMask({name: name in available for name in TABLE.names}, {})


class Steady:
    """Answers every observation with two seconds of the same pose."""

    def __init__(self) -> None:
        self.resets, self.forgotten, self.error = 0, 0, None

    def reset(self) -> None:
        self.resets += 1

    def forget_chunk(self) -> None:
        self.forgotten += 1

    def infer(self, observation):
        if self.error:
            raise self.error
        return ActionChunk(observation.stamp_ns, 0.1, np.full((20, 6), 0.5))


class Robot:
    """The loop with its parts, and a clock."""

    def __init__(self) -> None:
        self.policy = Steady()
        self.queue = ActionQueue(latest_only)
        schedule = InferenceSchedule(RefillThreshold(), ObservationFilter(0.02))
        self.view = PolicyView(TABLE, 0.5)
        self.loop = PolicyLoop(
            StreamGate(TABLE, 1), self.view, self.queue, schedule,
            Playback(self.queue, 3, STEP_NS), 0.5,
        )  # fmt: skip
        self.inference = Inference(self.policy, schedule, self.queue, SO101.joint_names)
        self.now_ns = S

    def tick(self, task="go", usable=("rgb", "depth"), sees=True, not_ready=""):
        self.now_ns += STEP_NS
        self.view.states.add(self.now_ns, np.zeros(6))
        if sees:
            frames = dict.fromkeys(TABLE.names, np.zeros((4, 4)))
            self.view.on_set(self.now_ns, self.now_ns, frames, {})
        return self.loop.tick(self.now_ns, task, mask(*usable), not_ready)

    def ask(self, generation=None):
        self.inference.prepare()
        ok = dict.fromkeys(TABLE.names, ("OK", ""))
        observation = self.view.observation(self.now_ns, "go", ok)
        generation = self.queue.generation if generation is None else generation
        return self.inference.ask(observation, self.now_ns, generation), observation, generation

    def answer(self, chunk, observation, generation, later_ns=0) -> bool:
        self.now_ns += later_ns
        return self.inference.merge(chunk, observation, self.now_ns, generation, None)


@pytest.fixture
def robot() -> Robot:
    return Robot()


def test_it_asks_once_and_executes_the_answer(robot):
    assert robot.tick().infer and not robot.tick().infer
    assert robot.answer(*robot.ask())
    tick = robot.tick()
    assert tick.targets.shape == (3, 6) and (tick.targets == 0.5).all() and not tick.infer
    assert robot.inference.inferences == 1 and robot.policy.resets == 1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"task": ""}, "no task"),
        ({"not_ready": "warming up"}, "warming up"),
        ({"usable": ()}, "holding: 0 of 2 streams left, at least 1 needed"),
    ],
)
def test_a_hold_says_why_and_asks_nothing(robot, arguments, reason):
    tick = robot.tick(**arguments)
    assert tick.hold_reason == reason and not tick.infer and tick.targets is None


def test_an_arm_that_says_nothing_holds(robot):
    robot.tick()
    robot.now_ns += S
    tick = robot.loop.tick(robot.now_ns, "go", mask("rgb"))
    assert tick.hold_reason == "joint_states are older than 0.5 s"


def test_a_loss_asks_at_once_however_full_the_queue_is(robot):
    robot.tick()
    robot.answer(*robot.ask())
    assert not robot.tick().infer
    tick = robot.tick(usable=("depth",))
    assert tick.infer and tick.mask_changed
    assert not robot.tick(usable=("depth",)).mask_changed


def test_what_was_seen_before_the_task_is_not_asked_about(robot):
    robot.tick(task="")
    robot.loop.start_anew(robot.now_ns + 1)
    assert not robot.tick(sees=False).infer
    assert robot.tick().infer


def test_an_answer_to_the_task_before_is_dropped(robot):
    robot.tick()
    asked = robot.ask()
    robot.loop.start_anew(robot.now_ns)
    assert not robot.answer(*asked)
    assert robot.queue.queued() is None and robot.inference.inferences == 0
    # What the policy remembers of that chunk never came into the queue.
    assert robot.tick().infer
    forgotten = robot.policy.forgotten
    robot.answer(*robot.ask())
    assert robot.policy.forgotten == forgotten + 1


def test_a_failure_is_tried_again_after_a_pause(robot):
    robot.tick()
    robot.policy.error = RuntimeError("no idea")
    with pytest.raises(RuntimeError):
        robot.ask()
    robot.inference.failed(robot.now_ns)
    ticks = [robot.tick().infer for _ in range(RETRY_NS // STEP_NS)]
    assert ticks == [False] * (len(ticks) - 1) + [True]


def test_an_answer_that_comes_after_its_end_is_an_error(robot):
    robot.tick()
    with pytest.raises(ValueError, match=r"spans 2.00 s but came 2.50 s after"):
        robot.answer(*robot.ask(), later_ns=5 * S // 2)


def test_a_reset_that_fails_is_due_again(robot):
    robot.policy.reset = lambda: (_ for _ in ()).throw(RuntimeError("stuck"))
    for _ in range(2):
        with pytest.raises(RuntimeError, match="stuck"):
            robot.inference.prepare()
