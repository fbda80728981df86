"""An arm of seven joints from a YAML file through the cores, beside the SO-101 in one process."""

import numpy as np
import pytest
import torch
from made_up_episode import made_up_episode
from seven_joints import described, load

from multismolvla.control.safety import SafetyState
from multismolvla.data.bag import read_episode, write_episode
from multismolvla.data.cache import CacheError, TrainingCache
from multismolvla.data.cache_writer import CacheWriter
from multismolvla.data.episode import EpisodeError
from multismolvla.data.lerobot_joints import radians_of
from multismolvla.data.lerobot_reader import LeRobotReader
from multismolvla.data.lerobot_writer import LeRobotWriter
from multismolvla.embodiment.description import EmbodimentError
from multismolvla.embodiment.so101 import SO101
from multismolvla.interfaces import ActionChunk
from multismolvla.policy.config import tiny
from multismolvla.policy.model import MultiSmolVLA
from multismolvla.policy.tokenizer import SHIPPED_FILE, Tokenizer
from multismolvla.robot.so101 import ArmState
from multismolvla.stack.arm import safety_filter
from multismolvla.stack.arm_runner import ArmRunner
from multismolvla.stack.delayed_inference import DelayedInference
from multismolvla.stack.policy_runner import PolicyRunner
from multismolvla.stack.settings import DriverSettings, PolicySettings
from multismolvla.streams import Stream, StreamTable
from multismolvla.training.dataset.episode_sources import find_sources
from multismolvla.training.policy.batches import BatchMaker
from multismolvla.training.policy.recipe import DropoutRecipe, PhaseRecipe
from multismolvla.training.policy.run import make_normalizer

TABLE = StreamTable((Stream("rgb", "rgb", 6, 8, 15.0, "camera_optical_frame"),))
TICK_NS = 10_000_000


@pytest.fixture
def seven(tmp_path):
    return load(tmp_path, described())


class To:
    """A policy whose chunks lead to one pose."""

    def __init__(self, pose):
        self.pose = pose

    def reset(self):
        pass

    def infer(self, observation):
        return ActionChunk(observation.stamp_ns, 0.1, np.tile(self.pose, (20, 1)))


class Servos:
    """Servos of any arm, which are where their goals are."""

    name = "made up"

    def __init__(self, pose):
        self.pose = np.array(pose)

    def read(self):
        return ArmState(self.pose, np.zeros_like(self.pose), np.zeros_like(self.pose))

    def held_pose_rad(self, state):
        return self.pose

    def write_goals_rad(self, goals_rad):
        self.pose = goals_rad

    def torque(self):
        return np.ones(len(self.pose), bool)

    def prepare(self):
        pass

    def check_torque(self):
        pass

    def set_torque(self, enabled):
        pass

    def read_diagnostics(self, joint):
        return None

    retried = 0

    def supply_warning(self):
        return ()

    def serious_fault(self):
        return ""

    def close(self):
        pass


class Robot:
    """Policy runner and arm runner of one arm, by hand on one clock."""

    def __init__(self, arm, policy):
        self.now_ns, self.servos, self.states, self.problems = 10**9, Servos(arm.home_rad), [], []
        self.policy = PolicyRunner(
            policy, arm.joint_names, TABLE, PolicySettings(min_visual_streams=1)
        )
        self.policy.give_task("go")
        self.inference = DelayedInference(self.policy, 0.05)
        self.runner = ArmRunner(
            lambda: self.servos,
            safety_filter(DriverSettings(ramp_s=0.0), arm),
            lambda: self.now_ns,
            self.states.append,
            lambda severity, text: self.problems.append(text),
        )

    def tick(self):
        self.now_ns += TICK_NS
        self.runner.tick()
        view, now_ns = self.policy.view, self.now_ns
        view.states.add(now_ns, self.states[-1].positions_rad)
        view.on_set(now_ns, now_ns, {"rgb": np.zeros((6, 8, 3), np.uint8)}, {})
        statuses = {"rgb": ("OK", "")}
        self.inference.take_answer(now_ns)
        tick = self.policy.tick(now_ns, statuses)
        if tick.request is not None:
            self.inference.start(tick.request, now_ns, statuses)
        if tick.targets is not None:
            self.runner.follow(self.policy.trajectory(now_ns, tick.targets))


def test_two_arms_follow_their_policies_side_by_side_within_their_own_limits(seven):
    far = seven.upper_rad + 1.0
    robots = {seven: Robot(seven, To(far)), SO101: Robot(SO101, To(SO101.home_rad + 0.1))}
    for _ in range(300):
        for robot in robots.values():
            robot.tick()
    np.testing.assert_allclose(robots[seven].servos.pose, seven.upper_rad, atol=1e-3)
    np.testing.assert_allclose(robots[SO101].servos.pose, SO101.home_rad + 0.1, atol=1e-3)
    status = robots[seven].runner.status()
    assert status.state is SafetyState.TRACKING and "fingers" in status.reason
    assert set(status.diagnostics) == set(seven.joint_names)
    assert set(robots[SO101].runner.status().diagnostics) == set(SO101.joint_names)


def test_a_chunk_of_the_other_arm_moves_nothing(seven):
    robot = Robot(seven, To(SO101.home_rad))
    for _ in range(50):
        robot.tick()
    assert "shape (20, 6); expected (T, 7)" in robot.policy.problem
    np.testing.assert_array_equal(robot.servos.pose, seven.home_rad)


def episodes(arm, count=4, **changes):
    """Episodes of an arm, with a chunk of its width."""
    rng = np.random.default_rng(0)
    for seed in range(count):
        joints = {name: rng.normal(size=(9, len(arm))) for name in ("state", "action", "executed")}
        chunks = rng.normal(size=(5, 50, len(arm))).astype(np.float32)
        masks = {"rgb": np.ones(5, bool)}
        values = {"joints": arm.joint_names, "masks": masks, "chunks": chunks} | joints | changes
        yield made_up_episode(seed, streams=("rgb",), **values)


def cached(folder, arm):
    with CacheWriter(folder, arm.joint_names, {"rgb": (6, 8)}, (), validation_share=0.0) as writer:
        for number, episode in enumerate(episodes(arm)):
            writer.add(str(number), episode)
    return TrainingCache(folder)


def test_a_cache_of_seven_joints_gives_a_batch_and_a_step_of_training(seven, tmp_path):
    cache = cached(tmp_path / "cache", seven)
    assert cache.joints == seven.joint_names
    assert cache.array("state").shape == (20, 7) and cache.array("chunk").shape == (20, 50, 7)
    config, samples = tiny(tuple(TABLE), seven), cache.split("train")
    normalizer = make_normalizer(config, seven.kinematics, cache, samples)
    tokenizer = Tokenizer.load(SHIPPED_FILE, config.max_language_tokens)
    none = DropoutRecipe(schedule="none")
    phase = PhaseRecipe("policy", steps=1, batch_size=4, groups=1, draws=1, dropout=none)
    (group,) = BatchMaker(
        cache, samples, config, tokenizer, normalizer, seven.kinematics, phase, (0, 0)
    ).make(0)
    assert group.joints.shape == (4, 7)
    torch.manual_seed(0)
    model = MultiSmolVLA(config, seven.kinematics)
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)

    def loss():
        inputs = (group.frames, group.mask, group.language, group.language_mask, group.state)
        residual = model(*inputs, group.actions, group.noise[:, 0], group.time[:, 0])
        return residual[..., :7].square().mean()

    before = loss()
    before.backward()
    optimizer.step()
    assert loss() < before


def test_an_episode_of_another_arm_is_refused_with_both_lists_of_joints(seven, tmp_path):
    theirs, ours = next(episodes(seven)), next(episodes(SO101))
    write_episode(tmp_path / "bags" / "one", theirs)
    back = read_episode(tmp_path / "bags" / "one")
    assert back.joints == seven.joint_names and back.chunks.shape == (5, 50, 7)
    (source,) = find_sources([tmp_path / "bags"], SO101)
    with pytest.raises(EpisodeError, match=r"bags/one: joints are joint0, .*'so101' has shoulder"):
        source.load()
    with CacheWriter(tmp_path / "cache", seven.joint_names, {"rgb": (6, 8)}, ()) as writer:
        writer.add("theirs", theirs)
        with pytest.raises(CacheError, match=r"ours: joints are shoulder_pan, .*has joint0"):
            writer.add("ours", ours)


def test_a_lerobot_set_of_seven_joints_is_for_that_arm_only(seven, tmp_path):
    (episode,) = episodes(seven, 1)
    with LeRobotWriter(tmp_path / "set", seven, {"rgb": (6, 8, 3)}, ()) as writer:
        writer.add(episode)
        with pytest.raises(EmbodimentError, match=r"set: joints are shoulder_pan, .*'seven' has"):
            writer.add(next(episodes(SO101)))
    back = LeRobotReader(tmp_path / "set", seven).read(0)
    assert back.joints == seven.joint_names
    np.testing.assert_allclose(back.state, episode.state, atol=1e-6)
    with pytest.raises(EpisodeError, match=r"observation\.state\.names is joint0, .*shoulder_pan"):
        LeRobotReader(tmp_path / "set", SO101)
    # Per cent of the range of whatever joint is the gripper.
    halves = np.array([[180.0] * 6 + [50.0]])
    radians = radians_of(seven, "degrees")(halves)
    np.testing.assert_allclose(radians, [[np.pi] * 6 + [0.4]])
