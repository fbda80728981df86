"""LIBERO over ROS as the graph sees it: cameras, states, steps, reset; with a made-up world."""

import threading
from dataclasses import dataclass

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from patience import HANG_S
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from multismolvla.embodiment.panda import PANDA
from multismolvla.nodes.libero_node import LATCHED, LiberoNode
from multismolvla.nodes.trajectory_message import trajectory_message
from multismolvla.sim.libero import package
from multismolvla.sim.libero.tasks import DEFAULT_TASK
from multismolvla.sim.offscreen import RenderingError

PERIOD_NS = 50_000_000
ENCODINGS = {"rgb": "rgb8", "depth": "16UC1", "thermal": "mono16", "segmentation": "mono8"}
STREAMS = [f"{view}/{kind}" for view in ("agentview", "wrist") for kind in ENCODINGS]
OTHER_TASK = "open the drawer"


@dataclass(frozen=True)
class FakeTask:
    id: str
    instruction: str
    suite: str = "object"


class FakeWorld:
    """Notes what it is told; a test may have it break, go blind or reach its goal."""

    embodiment = PANDA
    newest: "FakeWorld"

    def __init__(self, table):
        FakeWorld.newest = self
        self.table = table
        self.begun, self.actions, self.threads = [], [], set()
        self.reached = self.blind = self.breaks = False
        self.seen = 0

    def find(self, text):
        for task in (FakeTask("object/0", DEFAULT_TASK), FakeTask("goal/0", OTHER_TASK)):
            if text in (task.id, task.instruction):
                return task
        raise ValueError(f"there is no task '{text}'")

    def begin(self, task, seed):
        if seed == 13:
            raise ValueError("place 13 is not there")
        self.begun.append((task.id, seed))

    def step(self, action):
        if self.breaks:
            raise FloatingPointError("diverged")
        self.threads.add(threading.get_ident())
        self.actions.append(action)

    def state(self):
        return np.arange(8) + 0.5

    def success(self):
        return self.reached

    def look(self, names, time_s):
        if self.blind:
            raise RenderingError("OpenGL does not start; install libegl1")
        self.seen += 1
        frames = {"rgb": np.full((96, 96, 3), self.seen % 200, np.uint8)}
        frames["depth"] = frames["thermal"] = np.full((96, 96), 0.7, np.float32)
        frames["segmentation"] = np.ones((96, 96), np.uint8)
        return {name: frames[name.rpartition("/")[2]] for name in names}

    def intrinsics(self, name):
        return -100.0, 100.0, 47.5, 47.5

    def close(self):
        pass


class Robot:
    """A node of a made-up world, and what it has published."""

    def __init__(self, graph, **parameters):
        self.graph = graph
        self.newest: dict[str, object] = {}
        self.counts: dict[str, int] = {}
        for name in STREAMS:
            self._listen(Image, f"{name}/image_raw", qos_profile_sensor_data)
            self._listen(CameraInfo, f"{name}/camera_info", qos_profile_sensor_data)
        self._listen(JointState, "joint_states", 1)
        self._listen(DiagnosticStatus, "sim_node/result", LATCHED)
        self._listen(Clock, "/clock", qos_profile_sensor_data)
        self.commands = graph.probe.create_publisher(JointTrajectory, "joint_trajectory", 1)
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        self.node = graph.add(LiberoNode(FakeWorld, parameter_overrides=overrides))
        self.world = FakeWorld.newest

    def _listen(self, kind, topic, qos):
        def keep(message):
            self.newest[topic] = message
            self.counts[topic] = self.counts.get(topic, 0) + 1

        self.graph.probe.create_subscription(kind, topic, keep, qos)

    def until(self, condition):
        self.graph.spin_until(condition)

    def set(self, **values):
        parameters = [Parameter(name, value=v).to_parameter_msg() for name, v in values.items()]
        request = SetParameters.Request(parameters=parameters)
        return self.graph.call(SetParameters, "sim_node/set_parameters", request).results[0]

    @property
    def result(self):
        message = self.newest.get("sim_node/result")
        return {pair.key: pair.value for pair in message.values} if message else {}

    @property
    def now_ns(self):
        """The simulator's time, as it is on every message of it."""
        stamp = self.newest["joint_states"].header.stamp
        return stamp.sec * 10**9 + stamp.nanosec

    def command(self, rows, start_ns=None):
        """Send these steps, one a period from now on."""
        rows = np.array(rows, float)
        start_ns = self.now_ns if start_ns is None else start_ns
        times_ns = start_ns + np.arange(len(rows)) * PERIOD_NS
        self.commands.publish(trajectory_message(PANDA.action_names, times_ns, rows))

    def ready(self):
        """States are published and the node hears commands."""
        self.until(lambda: "joint_states" in self.newest)
        self.until(lambda: self.commands.get_subscription_count())

    def moved(self):
        """The steps that the world was given and that move the arm, by their first number."""
        return [round(float(a[0]), 3) for a in list(self.world.actions) if a[0]]


@pytest.fixture
def start(graph):
    robots = []

    def make(**parameters):
        # Simulated time: the steps that are due do not depend on how busy the machine is.
        robots.append(Robot(graph, **{"use_sim_time": True, **parameters}))
        return robots[-1]

    yield make
    for robot in robots:
        robot.node.close()


def plan(first, count):
    """Steps that tell their number, in the unit of a hundredth."""
    return [[(first + k) / 100, 0, 0, 0, 0, 0, 1.0] for k in range(count)]


def test_cameras_and_states_have_one_stamp_and_the_arms_own_names(start):
    robot = start()
    topics = [f"{name}/{leaf}" for name in STREAMS for leaf in ("image_raw", "camera_info")]
    robot.until(lambda: all(topic in robot.newest for topic in [*topics, "joint_states"]))
    for name in STREAMS:
        image, info = robot.newest[f"{name}/image_raw"], robot.newest[f"{name}/camera_info"]
        assert image.encoding == ENCODINGS[name.rpartition("/")[2]]
        assert image.header.frame_id == f"{name.partition('/')[0]}_camera_optical_frame"
        assert (info.height, info.k[0]) == (96, -100.0)
    states = robot.newest["joint_states"]
    assert tuple(states.name) == PANDA.state_names
    assert list(states.position) == [k + 0.5 for k in range(8)]
    assert states.header.stamp.nanosec % PERIOD_NS == 0


def test_steps_are_done_once_and_in_order_and_then_the_arm_is_held(start):
    robot = start()
    robot.ready()
    sent_ns = robot.now_ns + 2 * PERIOD_NS
    # Each step comes in three trajectories, as with the policy's look-ahead.
    for k in range(6):
        robot.until(lambda k=k: robot.now_ns >= sent_ns + (k - 1) * PERIOD_NS)
        robot.command(plan(k + 1, 3), sent_ns + k * PERIOD_NS)
    robot.until(lambda: robot.result.get("arm") == "HOLD")
    done = robot.moved()
    assert done == sorted(set(done)) and len(done) >= 4
    last = robot.world.actions[-1]
    np.testing.assert_array_equal(last, [0, 0, 0, 0, 0, 0, 1.0])


def test_a_stale_command_and_one_out_of_bounds_move_the_arm_no_farther_than_allowed(start):
    robot = start()
    robot.ready()
    robot.command(plan(1, 3), robot.now_ns - 10 * PERIOD_NS)
    robot.until(lambda: "stale" in robot.result.get("arm_reason", ""))
    assert robot.moved() == []
    robot.command([[9.0, 0, 0, 0, 0, 0, 1.0]] * 40)
    robot.until(robot.moved)
    assert robot.moved()[0] == 1.0


def test_a_broken_message_is_survived_and_reported(start):
    robot = start()
    robot.ready()
    joints = trajectory_message(("shoulder_pan",), np.array([robot.now_ns]), np.zeros((1, 1)))
    for message in (joints, JointTrajectory(), JointTrajectory(joint_names=PANDA.action_names)):
        robot.commands.publish(message)
    robot.until(lambda: "refused" in robot.result.get("arm_reason", ""))
    robot.command([[float("nan")] * 7] * 40)
    robot.until(lambda: "not finite" in robot.result.get("arm_reason", ""))
    assert robot.moved() == []
    robot.command(plan(1, 40))
    robot.until(robot.moved)


def test_a_reset_begins_the_episode_of_the_parameters_and_forgets_commands(start):
    robot = start()
    robot.ready()
    robot.command(plan(1, 200))
    robot.until(robot.moved)
    assert robot.set(task=OTHER_TASK).successful and robot.set(seed=7).successful
    answer = robot.graph.call(Trigger, "sim_node/reset")
    assert answer.success and answer.message == OTHER_TASK
    assert robot.world.begun == [("object/0", 0), ("goal/0", 7)]
    robot.until(lambda: robot.result.get("episode") == "1")
    moved, steps = len(robot.moved()), len(robot.world.actions)
    robot.until(lambda: len(robot.world.actions) >= steps + 3)
    assert len(robot.moved()) == moved
    assert robot.result["task"] == "goal/0" and robot.result["success"] == "0"


def test_a_reset_that_cannot_be_is_one_line_and_the_episode_goes_on(start):
    robot = start()
    robot.ready()
    assert robot.set(seed=13).successful
    answer = robot.graph.call(Trigger, "sim_node/reset")
    assert not answer.success and answer.message == "place 13 is not there"
    steps = len(robot.world.actions)
    robot.until(lambda: len(robot.world.actions) > steps)


def test_a_goal_that_was_reached_for_one_step_is_a_success(start):
    robot = start()
    robot.ready()
    robot.world.reached = True
    robot.until(lambda: robot.result.get("success") == "1")
    robot.world.reached = False
    before = robot.counts["sim_node/result"]
    robot.until(lambda: robot.counts["sim_node/result"] > before)
    assert robot.result["success"] == "1"
    assert robot.graph.call(Trigger, "sim_node/reset").success
    robot.until(lambda: robot.result.get("success") == "0")


def test_the_clock_goes_on_by_a_period_a_step_over_a_reset(start):
    robot = start()
    clock_ns = []

    def note(message):
        clock_ns.append(message.clock.sec * 10**9 + message.clock.nanosec)

    robot.graph.probe.create_subscription(Clock, "/clock", note, qos_profile_sensor_data)
    robot.until(lambda: len(clock_ns) > 4)
    robot.graph.call(Trigger, "sim_node/reset")
    seen = len(clock_ns)
    robot.until(lambda: len(clock_ns) > seen + 4)
    # A tick may be lost on the way to the test.
    assert (np.diff(clock_ns) > 0).all() and not (np.diff(clock_ns) % PERIOD_NS).any()


def test_without_simulated_time_stamps_are_the_machines_and_there_is_no_clock(start):
    robot = start(use_sim_time=False)
    robot.ready()
    apart_s = (robot.graph.probe.get_clock().now().nanoseconds - robot.now_ns) * 1e-9
    assert abs(apart_s) < HANG_S
    assert "/clock" not in robot.newest
    # All at once: the machine may be busy.
    robot.command(plan(1, 400))
    robot.until(robot.moved)


def test_a_dead_camera_is_silent_and_an_unknown_one_is_refused(start):
    robot = start()
    robot.until(lambda: "agentview/rgb/image_raw" in robot.newest)
    answer = robot.set(dead_cameras=["rgb"])
    assert not answer.successful and "unknown stream 'rgb'" in answer.reason
    assert robot.set(dead_cameras=["agentview/rgb"]).successful
    other, dead = "agentview/depth/image_raw", "agentview/rgb/image_raw"
    settled = robot.counts[other] + 8
    robot.until(lambda: robot.counts[other] >= settled)
    silent = robot.counts[dead]
    robot.until(lambda: robot.counts[other] >= settled + 4)
    assert robot.counts[dead] == silent


def test_a_machine_that_cannot_render_has_states_and_an_arm(start):
    robot = start()
    robot.world.blind = True
    robot.ready()
    robot.until(lambda: robot.node._blind)
    robot.command(plan(1, 200))
    robot.until(robot.moved)


def test_a_world_that_breaks_ends_the_node_and_answers_who_waits(start):
    robot = start()
    robot.ready()
    assert len(robot.world.threads) <= 1  # the world is touched by one thread alone
    robot.world.breaks = True
    robot.node._thread._thread.join(HANG_S)
    assert not robot.node.context.ok()
    with pytest.raises(ValueError, match="has ended"):
        robot.node._thread.call(lambda: "")


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ({"task": "fold the shirt"}, "fold the shirt"),
        ({"seed": 13}, "place 13"),
        ({"dead_cameras": ["sonar"]}, "unknown stream 'sonar'"),
        ({"port": "/dev/ttyACM0"}, "unknown parameter 'port'"),
    ],
)
def test_bad_configuration_is_one_clear_line(start, parameters, complaint):
    with pytest.raises(ValueError, match=complaint) as error:
        start(**parameters)
    assert "\n" not in str(error.value)


def test_without_the_wheels_the_node_says_how_to_get_them(graph, monkeypatch):
    monkeypatch.setattr(package.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(package.LiberoMissing, match="multismolvla libero setup"):
        LiberoNode()
