"""The policy node on a real graph, with fake policies, cameras, statuses and joints."""

import dataclasses
import math
import subprocess
import sys
import threading
import time
from pathlib import Path

import mujoco
import numpy as np
import pytest
import torch
import yaml
from cv_bridge import CvBridge
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from patience import HANG_S
from rcl_interfaces.msg import Log
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory
from visualization_msgs.msg import Marker, MarkerArray

from multismolvla.embodiment.panda import PANDA
from multismolvla.embodiment.so101 import KINEMATICS, SO101
from multismolvla.interfaces import ActionChunk
from multismolvla.nodes.policy_node import PolicyNode
from multismolvla.policy.checkpoint import save_checkpoint
from multismolvla.policy.config import tiny
from multismolvla.policy.dry_run import DryRunReport
from multismolvla.policy.learned_policy import LearnedPolicy
from multismolvla.policy.model import MultiSmolVLA
from multismolvla.policy.normalization import Normalizer
from multismolvla.policy.precision_choice import Choice
from multismolvla.policy.tokenizer import SHIPPED_FILE, Tokenizer
from multismolvla.sim.cameras import Cameras
from multismolvla.sim.simulation import Simulation
from multismolvla.sim.tasks import find_task
from multismolvla.streams import load_stream_table

SHIPPED_CONFIG = Path(__file__).parents[2] / "config"
STREAMS = {"rgb": "rgb8", "depth": "32FC1", "wrist/rgb": "rgb8"}
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
ROWS, PERIOD_S = 300, 0.1


class FakePolicy:
    """Plans to stay at `target` for 30 s; a test may have it fail, answer badly or think long."""

    newest: "FakePolicy | None" = None

    def __init__(self):
        FakePolicy.newest = self
        self.observations = []
        self.resets = 0
        self.forgotten = 0
        self.target = 0.5
        self.answer = None
        self.may_answer = threading.Event()
        self.may_answer.set()

    def infer(self, observation):
        self.observations.append(observation)
        self.may_answer.wait()
        if self.answer is not None:
            return self.answer(observation)
        return ActionChunk(observation.stamp_ns, PERIOD_S, np.full((ROWS, 6), self.target))

    def reset(self):
        self.resets += 1

    def forget_chunk(self):
        self.forgotten += 1


class WarmingPolicy(FakePolicy):
    """Its dry run waits for the test and may fail."""

    may_warm_up: threading.Event
    fails = False

    def dry_run(self):
        assert WarmingPolicy.may_warm_up.wait(HANG_S)
        if WarmingPolicy.fails:
            raise RuntimeError("no\nmemory")
        choice = Choice("bfloat16", 1, 0.012, "precision bfloat16 (12 ms; float32 29 ms), 1 thread")
        return DryRunReport(
            1.5, 0.061, 0.038, 0.015, 212_000_000, 9_600_000, ROWS, PERIOD_S, choice
        )


class StepPolicy(FakePolicy):
    """Steps that tell their row, for 15 s."""

    def infer(self, observation):
        self.observations.append(observation)
        rows = np.zeros((ROWS, 7))
        rows[:, 0] = np.arange(ROWS)
        return ActionChunk(observation.stamp_ns, PANDA.action.period_s, rows)


class NoPolicy:
    pass


def frame(encoding: str) -> np.ndarray:
    if encoding == "rgb8":
        return np.full((96, 96, 3), 120, np.uint8)
    return np.full((96, 96), 0.7, np.float32)


def stamp_s(message) -> float:
    return message.header.stamp.sec + message.header.stamp.nanosec * 1e-9


class Rig:
    """A robot's worth of publishers around one policy node."""

    def __init__(self, graph, tmp_path):
        self.graph, self.probe = graph, graph.probe
        self.streams_file = tmp_path / "streams.yaml"
        self.streams_file.write_text(
            "streams:\n"
            + "".join(
                f"  - {{name: {name}, kind: {name.rpartition('/')[2]}, height: 96, width: 96, "
                "rate_hz: 15.0, frame_id: camera_optical_frame}\n"
                for name in STREAMS
            )
        )
        self.node = None
        self.states = dict.fromkeys(STREAMS, ("OK", ""))
        self.silent_statuses, self.dead_images = set(), set()
        self.joints = True
        self.joint_names = list(SO101.joint_names)
        self.joint_positions = SO101.home_rad.tolist()
        self.joint_offset_s = 0
        self.clock_ns = None
        self.joint_efforts = []
        self.trajectories, self.statuses, self.chunks, self.log = [], [], [], []
        self.bridge, probe = CvBridge(), self.probe
        self.images = {
            name: (
                probe.create_publisher(Image, f"{name}/image", qos_profile_sensor_data),
                self.bridge.cv2_to_imgmsg(frame(encoding), encoding),
            )
            for name, encoding in STREAMS.items()
        }
        self.status_publishers = {
            name: probe.create_publisher(DiagnosticArray, f"{name}/status", 1) for name in STREAMS
        }
        self.joint_publisher = probe.create_publisher(JointState, "joint_states", 1)
        self.task_publisher = probe.create_publisher(String, "task", LATCHED)
        self.objects_publisher = probe.create_publisher(MarkerArray, "ground_truth/objects", 1)
        self.clock_publisher = probe.create_publisher(Clock, "/clock", 1)
        for kind, topic, into in (
            (JointTrajectory, "joint_trajectory", self.trajectories),
            (JointTrajectory, "policy/chunk", self.chunks),
            (DiagnosticArray, "policy/status", self.statuses),
        ):
            probe.create_subscription(kind, topic, into.append, 10)
        probe.create_subscription(Log, "/rosout", self.log.append, 1000)
        probe.create_timer(0.05, self.publish)

    def start(self, task="pick the cube", sim_time=False, **parameters):
        values = {
            "policy": f"{__name__}:FakePolicy",
            "task": task,
            "streams_file": str(self.streams_file),
            "use_sim_time": sim_time,
            **parameters,
        }
        self.node = self.graph.add(
            PolicyNode(parameter_overrides=[Parameter(k, value=v) for k, v in values.items()])
        )
        return FakePolicy.newest

    def publish(self):
        stamp = self.probe.get_clock().now().to_msg()
        if self.clock_ns is not None:
            self.clock_ns += 50_000_000
            stamp.sec, stamp.nanosec = divmod(self.clock_ns, 10**9)
            self.clock_publisher.publish(Clock(clock=stamp))
        for name in STREAMS:
            publisher, image = self.images[name]
            image.header.stamp = stamp
            if name not in self.dead_images:
                publisher.publish(image)
            if name not in self.silent_statuses:
                self.status_publishers[name].publish(self.stream_status(name))
        if self.joints:
            message = JointState(
                name=self.joint_names, position=self.joint_positions, effort=self.joint_efforts
            )
            message.header.stamp.nanosec = stamp.nanosec
            message.header.stamp.sec = stamp.sec + self.joint_offset_s
            self.joint_publisher.publish(message)

    def stream_status(self, name):
        state, reason = self.states[name]
        values = {"state": state, "reason": reason, "rate_hz": "15", "age_s": "0", "frames": "9"}
        pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
        return DiagnosticArray(status=[DiagnosticStatus(name=name, values=pairs)])

    def show(self, name, pixels):
        """Publish this picture on the stream from now on."""
        image = self.bridge.cv2_to_imgmsg(pixels, STREAMS[name])
        self.images[name] = (self.images[name][0], image)

    def give_task(self, task):
        self.task_publisher.publish(String(data=task))

    @property
    def status(self):
        if not self.statuses:
            return {}
        return {pair.key: pair.value for pair in self.statuses[-1].status[0].values}

    def until(self, condition):
        self.graph.spin_until(condition)

    def until_status(self, **wanted):
        self.until(lambda: all(self.status.get(k) == v for k, v in wanted.items()))

    def until_running_on_all(self):
        """Running, with every stream available and a chunk that was made from all of them."""
        policy = FakePolicy.newest
        self.until_status(mode="running")
        self.until(
            lambda: all(self.status[f"mask.{name}"] == "1" for name in STREAMS)
            and policy.observations
        )

    def until_more_trajectories(self, count):
        wanted = len(self.trajectories) + count
        self.until(lambda: len(self.trajectories) >= wanted)

    def lines(self, text):
        return [log.msg for log in self.log if text in log.msg]


@pytest.fixture
def rig(graph, tmp_path):
    rig = Rig(graph, tmp_path)
    yield rig
    if FakePolicy.newest is not None:
        FakePolicy.newest.may_answer.set()


def test_an_arm_of_steps_is_sent_each_step_with_the_same_instant(rig):
    rig.joint_names, rig.joint_positions = list(PANDA.state_names), [0.1] * 8
    policy = rig.start(policy=f"{__name__}:StepPolicy", embodiment="panda", chunk_entry="stamp")
    rig.until_status(mode="running")
    rig.until_more_trajectories(8)
    np.testing.assert_array_equal(policy.observations[0].state, [0.1] * 8)
    sent: dict[tuple[int, int], set[float]] = {}
    for message in rig.trajectories[-8:]:
        assert tuple(message.joint_names) == PANDA.action_names
        stamp = message.header.stamp
        for point in message.points:
            after = point.time_from_start
            at_ns = (stamp.sec + after.sec) * 10**9 + stamp.nanosec + after.nanosec
            sent.setdefault(at_ns, set()).add(point.positions[0])
    assert all(len(steps) == 1 for steps in sent.values())
    # Five points a message: all but the outermost steps come several times.
    assert len(sent) < 8 * 5


def test_setpoints_for_now_and_ahead_are_published(rig):
    rig.start()
    rig.until_running_on_all()
    rig.until(lambda: rig.trajectories and rig.trajectories[-1].points[0].positions[0] == 0.5)
    newest = rig.trajectories[-1]
    assert tuple(newest.joint_names) == SO101.joint_names
    offsets = [p.time_from_start.sec * 10**9 + p.time_from_start.nanosec for p in newest.points]
    assert offsets == [0, 20_000_000, 40_000_000, 60_000_000, 80_000_000]
    assert all(len(point.positions) == 6 for point in newest.points)
    rig.until(lambda: rig.chunks)
    assert len(rig.chunks[-1].points) > ROWS // 2


def test_the_first_setpoint_starts_from_the_measured_pose(rig):
    rig.start(crossfade_s=5.0)
    rig.until(lambda: rig.trajectories)
    first = np.array(rig.trajectories[0].points[0].positions)
    np.testing.assert_allclose(first, SO101.home_rad, atol=0.1)


def test_the_policy_gets_frames_state_task_and_ground_truth(rig):
    marker = Marker(ns="cube")
    marker.pose.position.x, marker.pose.orientation.w = 0.2, 1.0
    rig.probe.create_timer(
        0.1, lambda: rig.objects_publisher.publish(MarkerArray(markers=[marker]))
    )
    policy = rig.start(queue_threshold=1.0, observation_tolerance_rad=0.0)
    rig.until(lambda: policy.observations and policy.observations[-1].privileged)
    rig.until(lambda: all(policy.observations[-1].mask.values()))
    observation = policy.observations[-1]
    assert observation.task == "pick the cube"
    np.testing.assert_allclose(observation.state, SO101.home_rad)
    np.testing.assert_allclose(observation.privileged["cube"], [0.2, 0, 0, 1, 0, 0, 0])
    for name, encoding in STREAMS.items():
        np.testing.assert_array_equal(observation.frames[name], frame(encoding))


def test_without_a_task_nothing_moves(rig):
    policy = rig.start(task="")
    rig.until_status(mode="idle", reason="no task", **{"mask.rgb": "1"})
    assert not rig.trajectories and not policy.observations


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        (lambda rig: rig.states.update(depth=("LOST", "frozen")), "frozen"),
        (lambda rig: rig.silent_statuses.add("depth"), "status_late"),
        (lambda rig: rig.dead_images.add("depth"), "image late"),
    ],
    ids=["status says lost", "status is late", "image is missing"],
)
def test_a_lost_stream_is_masked_and_the_policy_asked_again_at_once(rig, break_it, reason):
    policy = rig.start(queue_threshold=0.001)
    rig.until_running_on_all()
    break_it(rig)
    rig.until_status(**{"mask.depth": "0", "mask_reason.depth": reason, "mask.rgb": "1"})
    rig.until(lambda: not policy.observations[-1].mask["depth"])
    lost = policy.observations[-1]
    assert lost.frames["depth"] is None
    assert lost.mask["rgb"] and lost.frames["rgb"] is not None
    assert int(rig.status["queue_length"]) > ROWS // 2, "asked long before the queue ran down"


def test_with_too_few_streams_the_arm_holds_and_goes_on_when_they_return(rig):
    policy = rig.start(min_visual_streams=3)
    rig.until_running_on_all()
    rig.states["rgb"] = ("LOST", "stale")
    rig.until(lambda: rig.status["mode"] == "hold" and "at least 3 needed" in rig.status["reason"])
    rig.until(lambda: len(rig.trajectories[-1].points) == 1)
    assert rig.status["queue_length"] == "0"
    asked = len(policy.observations)
    rig.states["rgb"] = ("OK", "")
    rig.until_running_on_all()
    assert len(policy.observations) > asked


@pytest.fixture(scope="module")
def at_home():
    """What the simulated cameras see of the arm at home, by stream."""
    simulation = Simulation()
    simulation.reset(find_task("red_cube_in_bin"), 7)
    table = load_stream_table(SHIPPED_CONFIG / "streams.yaml")
    cameras = Cameras(simulation.model, table)
    data = mujoco.MjData(simulation.model)
    simulation.snapshot(data)
    frames = cameras.render(data, list(STREAMS), 0.0)
    cameras.close()
    return frames


def test_an_image_that_contradicts_the_pose_is_masked_while_it_does(rig, at_home):
    for name, pixels in at_home.items():
        rig.show(name, pixels)
    policy = rig.start(pose_check="simulation", queue_threshold=0.001)
    rig.until_running_on_all()
    rig.show("rgb", np.roll(at_home["rgb"], 20, axis=1))
    rig.until_status(**{"mask_reason.rgb": "image contradicts the pose", "mask.depth": "1"})
    rig.until(lambda: policy.observations[-1].frames["rgb"] is None)
    rig.until(lambda: rig.lines("masked because the images contradict the pose: rgb"))
    rig.show("rgb", at_home["rgb"])
    rig.until_running_on_all()
    rig.until(lambda: rig.lines("no image contradicts the pose any more"))


def test_joints_that_no_image_confirms_hold_the_arm(rig, at_home):
    for name, pixels in at_home.items():
        rig.show(name, pixels)
    rig.start(pose_check="simulation")
    rig.until_running_on_all()
    rig.joint_positions = (SO101.home_rad + np.array([0.5, 0.5, -0.4, 0.1, 0.6, 0.4])).tolist()
    rig.until_status(mode="hold")
    rig.until(lambda: rig.lines("every image contradicts the pose: check the joint states"))
    rig.joint_positions = SO101.home_rad.tolist()
    rig.until_running_on_all()


def test_without_joint_states_the_arm_holds(rig):
    rig.start()
    rig.until_running_on_all()
    rig.joints = False
    rig.until_status(mode="hold", reason="joint_states are older than 0.5 s")
    rig.joints = True
    rig.until_status(mode="running")


def test_joint_states_from_the_future_hold_the_arm(rig):
    rig.start()
    rig.until_running_on_all()
    rig.joint_offset_s = 3600
    rig.until_status(mode="hold", reason="joint_states are stamped more than 0.5 s in the future")
    rig.joint_offset_s = 0
    rig.until_status(mode="running")


def test_messages_stamped_before_the_epoch_end_no_node(rig):
    rig.start()
    rig.until_running_on_all()
    rig.joint_offset_s = -(10**9) * 2
    rig.until_status(mode="hold")
    rig.joint_offset_s = 0
    image = rig.images["rgb"][1]
    image.header.stamp.sec = -1
    rig.images["rgb"][0].publish(image)
    rig.until_status(mode="running")


def test_joint_states_that_lack_a_joint_are_refused_in_one_line(rig):
    rig.joint_names = [*SO101.joint_names[:-1], "claw"]
    rig.start()
    rig.until_status(mode="hold", reason="no joint_states")
    rig.until(lambda: rig.lines("wrist_roll, claw; the arm 'so101' has shoulder_pan, "))
    rig.joint_names = list(SO101.joint_names)
    rig.until_status(mode="running")
    assert len(rig.lines("wrist_roll, claw; the arm 'so101' has shoulder_pan, ")) == 1


def test_two_publishers_of_joint_states_are_told_and_the_arm_holds(rig):
    """The true pose and zeros in turn, as where a visualisation publishes its sliders."""
    rig.joint_positions = SO101.home_rad.tolist()
    rig.start()
    rig.until_running_on_all()

    def publish_zeros():
        if publishing:
            message = JointState(name=list(SO101.joint_names), position=[0.0] * 6)
            message.header.stamp = rig.probe.get_clock().now().to_msg()
            rig.joint_publisher.publish(message)

    publishing = True
    rig.probe.create_timer(0.05, publish_zeros)
    rig.until_status(
        mode="hold",
        reason="joint_states jump to and fro (wrist_flex); do two programs publish them?",
    )
    publishing = False
    rig.until_status(mode="running")


def test_an_effort_that_is_no_number_does_no_harm(rig):
    rig.joint_efforts = [float("nan")] * 6
    policy = rig.start()
    rig.until_running_on_all()
    np.testing.assert_allclose(policy.observations[-1].state, rig.joint_positions)
    assert not rig.lines("the message is ignored")


def test_a_robot_with_other_joint_names_is_driven_under_them(rig, tmp_path):
    theirs = ["1", "2", "3", "4", "5", "6"]
    joints = [
        {**dataclasses.asdict(joint), "topic_name": name}
        for joint, name in zip(SO101.joints, theirs, strict=True)
    ]
    path = tmp_path / "numbered.yaml"
    path.write_text(yaml.safe_dump({"name": "numbered", "joints": joints}))
    rig.joint_names = theirs[::-1]
    rig.joint_positions = [0.6, 0.5, 0.4, 0.3, 0.2, 0.1]
    policy = rig.start(embodiment=str(path))
    rig.until_running_on_all()
    np.testing.assert_allclose(policy.observations[-1].state, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    rig.until_more_trajectories(1)
    assert list(rig.trajectories[-1].joint_names) == theirs


def test_control_goes_on_while_the_policy_thinks(rig):
    policy = rig.start(queue_threshold=1.0, observation_tolerance_rad=0.0)
    rig.until_running_on_all()
    policy.may_answer.clear()
    asked = len(policy.observations)
    rig.until(lambda: len(policy.observations) > asked)
    rig.until_more_trajectories(30)
    assert len(policy.observations) == asked + 1, "one call in flight"
    assert rig.status["starved_ticks"] == "0"


def bad(kind):
    def answer(observation):
        if kind == "raises":
            raise RuntimeError("out of\nmemory")
        if kind == "nothing":
            return None
        rows = {"nan": np.full((9, 6), np.nan), "shape": np.zeros((9, 7))}[kind]
        return ActionChunk(observation.stamp_ns, PERIOD_S, rows)

    return answer


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        ("raises", "RuntimeError: out of memory"),
        ("nothing", "returned NoneType"),
        ("nan", "nan for shoulder_pan in row 0"),
        ("shape", "shape (9, 7)"),
    ],
)
def test_a_failing_policy_is_one_line_a_hold_and_a_recovery(rig, kind, complaint):
    policy = rig.start(task="")
    policy.answer = bad(kind)
    rig.until_status(mode="idle")
    rig.give_task("pick")
    rig.until(lambda: complaint in rig.status["reason"] and rig.status["mode"] == "hold")
    rig.until(lambda: len(policy.observations) >= 3)
    assert not rig.trajectories
    policy.answer = None
    rig.until_status(mode="running", reason="")
    rig.until(lambda: rig.lines("works again"))
    assert len(rig.lines(complaint)) <= 2, "the failure and the hold that followed from it"
    assert len(rig.lines("retrying")) == 1


def test_a_failure_with_actions_left_does_not_stop_the_arm(rig):
    policy = rig.start(queue_threshold=1.0, observation_tolerance_rad=0.0)
    rig.until_running_on_all()
    policy.answer = bad("raises")
    rig.until(lambda: "out of memory" in rig.status["reason"])
    assert rig.status["mode"] == "running"
    rig.until_more_trajectories(3)
    assert len(rig.trajectories[-1].points) == 5


def test_a_new_task_resets_the_policy_and_drops_the_old_actions(rig):
    policy = rig.start()
    rig.until_running_on_all()
    policy.may_answer.clear()
    policy.target = -0.7
    resets, asked = policy.resets, len(policy.observations)
    rig.give_task("put it back")
    rig.until(lambda: len(policy.observations) > asked)
    assert policy.resets == resets + 1
    assert policy.observations[-1].task == "put it back"
    rig.until_status(mode="hold", reason="waiting for the first chunk", queue_length="0")
    policy.may_answer.set()
    rig.until(lambda: rig.trajectories[-1].points[0].positions[0] == pytest.approx(-0.7))


def test_what_was_seen_before_the_task_does_not_count_for_it(rig):
    policy = rig.start(task="")
    rig.until_status(mode="idle", **{f"mask.{name}": "1" for name in STREAMS})
    rig.dead_images = set(STREAMS)
    rig.give_task("pick the cube")
    rig.until_status(task="pick the cube")
    reports = len(rig.statuses)
    rig.until(lambda: len(rig.statuses) >= reports + 2)
    assert not policy.observations
    rig.dead_images = set()
    rig.until(lambda: policy.observations)


def test_the_answer_to_an_old_task_is_dropped(rig):
    policy = rig.start(task="")
    policy.may_answer.clear()
    rig.until_status(mode="idle")
    rig.give_task("first")
    rig.until(lambda: policy.observations)
    rig.give_task("")
    rig.until_status(mode="idle", task="")
    policy.may_answer.set()
    rig.give_task("second")
    # A status may be made between a merge and its count.
    rig.until_status(mode="running", task="second", inferences="1")
    assert [o.task for o in policy.observations] == ["first", "second"]


def test_a_task_from_a_publisher_that_latches_nothing_counts_too(rig):
    rig.start(task="")
    plain = rig.probe.create_publisher(String, "task", 10)
    rig.until(plain.get_subscription_count)
    rig.until(lambda: rig.statuses)
    plain.publish(String(data="sort the bricks"))
    rig.until_status(mode="running", task="sort the bricks")


def test_the_same_task_again_changes_nothing(rig):
    policy = rig.start()
    rig.until_running_on_all()
    resets = policy.resets
    rig.give_task("pick the cube")
    rig.until_more_trajectories(20)
    assert policy.resets == resets
    assert rig.status["mode"] == "running"


def test_an_empty_task_holds_the_last_setpoint_and_falls_silent(rig):
    rig.start()
    rig.until_running_on_all()
    rig.until(lambda: rig.trajectories[-1].points[0].positions[0] == 0.5)
    rig.give_task("")
    rig.until_status(mode="idle", queue_length="0")
    rig.until(lambda: len(rig.trajectories[-1].points) == 1)
    assert rig.trajectories[-1].points[0].positions[0] == 0.5
    # Statuses go on, while the last setpoint is repeated for 0.2 s only.
    rig.until(lambda: stamp_s(rig.statuses[-1]) - stamp_s(rig.trajectories[-1]) > 1.0)
    sent = len(rig.trajectories)
    statuses = len(rig.statuses)
    rig.until(lambda: len(rig.statuses) > statuses + 5)
    assert len(rig.trajectories) == sent


def test_a_clock_set_back_is_survived(rig):
    rig.clock_ns = 100_000_000_000
    policy = rig.start(sim_time=True)
    rig.until_running_on_all()
    resets = policy.resets
    rig.clock_ns = 5_000_000_000
    rig.until(lambda: policy.resets > resets)
    rig.until(lambda: rig.trajectories[-1].header.stamp.sec < 90)
    rig.until_running_on_all()
    assert len(rig.lines("the clock was set back")) == 1


@pytest.fixture
def warming(monkeypatch):
    monkeypatch.setattr(WarmingPolicy, "may_warm_up", threading.Event(), raising=False)
    yield WarmingPolicy
    WarmingPolicy.may_warm_up.set()


def test_the_control_loop_holds_while_the_policy_warms_up(rig, warming):
    policy = rig.start(policy=f"{__name__}:WarmingPolicy")
    rig.until_status(mode="hold", reason="warming up", **{f"mask.{name}": "1" for name in STREAMS})
    reports = len(rig.statuses)
    rig.until(lambda: len(rig.statuses) >= reports + 5)
    assert not policy.observations and not rig.trajectories
    assert not any(key.startswith("dry_run.") for key in rig.status)
    warming.may_warm_up.set()
    rig.until_status(mode="running")
    figures = {key: value for key, value in rig.status.items() if key.startswith("dry_run.")}
    assert figures == {
        "dry_run.load_s": "1.50",
        "dry_run.first_ms": "61.0",
        "dry_run.median_ms": "38.0",
        "dry_run.one_stream_ms": "15.0",
        "dry_run.memory_mb": "212",
        "dry_run.parameters": "9600000",
        "dry_run.threshold": "0.005",
        "dry_run.precision": "bfloat16",
        "dry_run.threads": "1",
        "dry_run.choice": "precision bfloat16 (12 ms; float32 29 ms), 1 thread",
    }
    rig.until(lambda: rig.lines("ms per chunk"))
    assert len(rig.lines("38 ms per chunk (first 61, 15 with one stream), 212 MB")) == 1
    assert len(rig.lines("; precision bfloat16 (12 ms; float32 29 ms), 1 thread")) == 1


def test_without_a_task_it_is_idle_while_it_warms_up(rig, warming):
    rig.start(task="", policy=f"{__name__}:WarmingPolicy")
    rig.until_status(mode="idle", reason="no task")


def test_a_failed_dry_run_is_one_line_and_the_policy_is_tried_all_the_same(
    rig, warming, monkeypatch
):
    monkeypatch.setattr(warming, "fails", True)
    warming.may_warm_up.set()
    rig.start(policy=f"{__name__}:WarmingPolicy")
    rig.until_status(mode="running")
    rig.until(lambda: rig.lines("dry run"))
    assert len(rig.lines("failed: RuntimeError: no memory")) == 1


def test_the_node_ends_while_the_policy_warms_up(rig, warming):
    rig.start(policy=f"{__name__}:WarmingPolicy")
    rig.until_status(reason="warming up")
    closing = threading.Thread(target=rig.node.close)
    closing.start()
    warming.may_warm_up.set()
    closing.join(HANG_S)
    assert not closing.is_alive()
    assert "warm_up" not in {thread.name for thread in threading.enumerate()}


@pytest.fixture
def checkpoint(rig, tmp_path):
    """Folder of a random model with the rig's streams and chunks of 5 s."""
    torch.manual_seed(0)
    preset = tiny(load_stream_table(rig.streams_file).streams, SO101)
    text = dataclasses.replace(preset.text, vocab_size=1024)
    config = dataclasses.replace(preset, text=text, chunk_size=50, period_s=0.1)
    tokenizer = Tokenizer.load(SHIPPED_FILE, config.max_language_tokens)
    # Small actions around home, which no safety limit has reason to cut.
    spread = torch.full((6,), 0.05)
    normalizer = Normalizer(config, action_mean=torch.tensor(SO101.home_rad), action_std=spread)
    folder = tmp_path / "checkpoint"
    save_checkpoint(folder, MultiSmolVLA(config, KINEMATICS), config, tokenizer, normalizer)
    return folder


@pytest.fixture
def inferred(monkeypatch):
    """Every observation that a learned policy has answered, with its chunk."""
    answered, infer = [], LearnedPolicy.infer

    def recorded(policy, observation):
        chunk = infer(policy, observation)
        answered.append((observation, chunk))
        return chunk

    monkeypatch.setattr(LearnedPolicy, "infer", recorded)
    return answered


def first_chunk(rig, inferred, usable):
    """Give the task anew; return the first chunk, which has the seed's first noise."""
    while True:
        rig.until(lambda: all(rig.status[f"mask.{n}"] == str(int(n in usable)) for n in STREAMS))
        rig.give_task("")
        rig.until_status(mode="idle", queue_length="0")
        observation, chunk = answered_next(rig, inferred, time.time_ns())
        if {name for name, available in observation.mask.items() if available} == set(usable):
            return chunk.actions


def answered_next(rig, inferred, now_ns):
    """Give the task; return the first observation of it and its chunk.

    An inference of the task before may still be under way: its observation is older.
    """
    rig.give_task("pick the cube")
    rig.until(lambda: inferred and inferred[-1][0].stamp_ns >= now_ns)
    return next(pair for pair in inferred if pair[0].stamp_ns >= now_ns)


def test_a_checkpoint_drives_the_arm_and_ignores_a_masked_stream(rig, checkpoint, inferred):
    rig.start(policy=str(checkpoint), policy_seed=7, policy_noise=1.0, policy_device="cpu")
    rig.until_status(mode="running")
    assert rig.status["dry_run.parameters"].isdigit()
    rig.until(lambda: rig.lines("ms per chunk (first"))
    usable = set(STREAMS)
    first = first_chunk(rig, inferred, usable)
    # Where arrays lie in memory may change the last bits of a product.
    np.testing.assert_allclose(first_chunk(rig, inferred, usable), first, atol=1e-6)
    rig.until(lambda: rig.chunks and rig.trajectories)
    np.testing.assert_allclose(rig.chunks[-1].points[-1].positions, first[-1], atol=1e-9)

    far = np.full((96, 96), 1.5, np.float32)
    rig.show("depth", far)
    assert np.abs(first_chunk(rig, inferred, usable) - first).max() > 1e-4

    rig.states["depth"] = ("LOST", "frozen")
    without = first_chunk(rig, inferred, usable - {"depth"})
    rig.show("depth", frame("32FC1"))
    again = first_chunk(rig, inferred, usable - {"depth"})
    np.testing.assert_allclose(again, without, atol=1e-6)


def test_a_checkpoint_never_sees_a_state_that_is_no_number(rig, checkpoint, inferred):
    rig.start(policy=str(checkpoint), policy_device="cpu")
    rig.until_status(mode="running")
    rig.joint_positions = [math.nan, *SO101.home_rad[1:].tolist()]
    rig.until_status(mode="hold", reason="joint_states are older than 0.5 s")
    rig.until(lambda: rig.lines("no finite position for shoulder_pan"))
    rig.joint_positions = SO101.home_rad.tolist()
    rig.until_status(mode="running")
    assert all(np.isfinite(observation.state).all() for observation, _ in inferred)


def continues(first: ActionChunk, second: ActionChunk) -> bool:
    """Whether the rows that run while the second chunk is made are those of the first."""
    since = (second.stamp_ns - first.stamp_ns) * 1e-9 / first.period_s
    rows = np.arange(len(first.actions))
    for k in range(2):
        expected = [np.interp(since + k, rows, joint) for joint in first.actions.T]
        if np.abs(second.actions[k] - expected).max() > 0.005:
            return False
    return True


def breaks(inferred) -> list[int]:
    """Indices of the chunks after a task's first that do not continue the one before."""
    chunks = [chunk for observation, chunk in list(inferred) if observation.stamp_ns > 0]
    return [i for i in range(1, len(chunks)) if not continues(chunks[i - 1], chunks[i])]


# Always another inference, whatever has changed.
RESTLESS = {"queue_threshold": 1.0, "observation_tolerance_rad": 0.0, "policy_device": "cpu"}


def test_with_rtc_the_chunks_of_a_checkpoint_continue_one_another(rig, checkpoint, inferred):
    rig.start(policy=str(checkpoint), policy_chunking="rtc", chunk_entry="stamp", **RESTLESS)
    rig.until_status(mode="running")
    rig.until(lambda: int(rig.status["inferences"]) >= 5)
    assert not breaks(inferred)
    done = rig.status["inferences"]
    # What was planned before a hold is not executed after it.
    rig.states = dict.fromkeys(STREAMS, ("LOST", "stale"))
    rig.until_status(mode="hold")
    rig.states = dict.fromkeys(STREAMS, ("OK", ""))
    rig.until(lambda: int(rig.status["inferences"]) >= int(done) + 3)
    assert len(breaks(inferred)) == 1


def test_without_it_they_do_not(rig, checkpoint, inferred):
    rig.start(policy=str(checkpoint), policy_noise=1.0, **RESTLESS)
    rig.until(lambda: int(rig.status.get("inferences", 0)) >= 3)
    assert breaks(inferred)


def test_a_policy_is_told_when_its_chunk_is_not_executed(rig):
    policy = rig.start(**RESTLESS)
    rig.until_running_on_all()
    forgotten = policy.forgotten
    rig.until(lambda: len(policy.observations) >= 5)
    assert policy.forgotten == forgotten
    # A row that was over before the chunk arrived.
    policy.answer = lambda seen: ActionChunk(seen.stamp_ns, 1e-6, np.zeros((1, 6)))
    rig.until(lambda: policy.forgotten > forgotten)


def test_an_instruction_too_long_for_a_checkpoint_holds_the_arm(rig, checkpoint):
    rig.start(policy=str(checkpoint), policy_device="cpu", task="pick the cube " * 40)
    rig.until(lambda: "say it in fewer words" in rig.status.get("reason", ""))
    assert rig.status["mode"] == "hold" and not rig.trajectories
    rig.give_task("pick the cube")
    rig.until_status(mode="running", reason="")


def test_a_damaged_checkpoint_is_one_clear_line(rig, checkpoint):
    weights = checkpoint / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"cannot be created: Chec.*truncated") as error:
        rig.start(policy=str(checkpoint))
    assert "\n" not in str(error.value)


def test_the_expert_does_not_wait_for_torch():
    code = (
        "import sys, multismolvla.nodes.policy_node as node; node.load_policy('expert', None); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ({"policy": "genius"}, "policy is 'genius', which no installed package offers; known: exp"),
        ({"policy": "genius"}, "the folder of a checkpoint, a hub id owner/name, or module:Class"),
        ({"policy": ""}, "policy is '', which no installed package offers"),
        ({"policy": "/no/such/folder"}, "policy is '/no/such/folder', which is not a folder"),
        ({"policy": "/"}, "policy '/' cannot be created"),
        ({"policy_cameras": "camera1"}, "expected each camera of the checkpoint once"),
        ({"policy_cameras": "a=rgb,a=depth"}, "policy_cameras is 'a=rgb,a=depth'"),
        ({"policy": "expert", "policy_device": "abacus"}, "'policy_device' is 'abacus'"),
        ({"policy_chunking": "smooth"}, "'policy_chunking' is 'smooth'; expected one of none, rtc"),
        ({"policy_chunking": "rtc"}, "chunk_entry is 'nearest'; expected 'stamp'"),
        ({"chunk_entry": "middle"}, "'chunk_entry' is 'middle'; expected one of nearest, stamp"),
        ({"policy": "no_such_module:Policy"}, "cannot be created: ModuleNotFoundError"),
        ({"policy": f"{__name__}:NoPolicy"}, "has no method 'infer'"),
        ({"queue_threshold": 1.5}, "queue_threshold is 1.5; expected 'auto' or a number"),
        ({"merge": "mean"}, "'merge' is 'mean'; expected one of latest_only"),
        ({"control_rate_hz": 0.0}, "control_rate_hz"),
        ({"min_visual_streams": 4}, "min_visual_streams is 4"),
        (
            {"pose_check": "/nowhere.safetensors"},
            "/nowhere.safetensors: cannot read the pose check",
        ),
        ({"streams_file": "/nowhere.yaml"}, "cannot read the stream table"),
        ({"polcy": "expert"}, "unknown parameter 'polcy'"),
        ({"embodiment": "pandas"}, "embodiment is 'pandas'; expected so101, panda"),
        ({"policy": "teacher"}, "reads the simulator in its own process and not over ROS"),
    ],
)
def test_bad_configuration_is_one_clear_line(rig, parameters, complaint):
    with pytest.raises(ValueError) as error:
        rig.start(**parameters)
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)
