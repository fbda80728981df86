"""The same messages at the same instants through policy_node and through a `PolicyRunner`."""

import numpy as np
import pytest
from cv_bridge import CvBridge
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from multismolvla.embodiment.so101 import SO101
from multismolvla.interfaces import ActionChunk
from multismolvla.nodes import policy_node, stream_synchronizer
from multismolvla.sensing.lag import LagMeter
from multismolvla.sensing.synchronizer import Synchronizer
from multismolvla.stack.delayed_inference import DelayedInference
from multismolvla.stack.policy_runner import PolicyRunner
from multismolvla.stack.settings import PolicySettings
from multismolvla.streams import load_stream_table

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
STREAMS = ("rgb", "depth", "wrist/rgb")
TICK_NS, START_NS = 20_000_000, 10**9
TICKS = 120
SETTINGS = {
    # Every observation is worth an inference: an answer follows each request.
    "observation_tolerance_rad": 0.0,
    "min_visual_streams": 2,
    # A timer of ROS is due after its deadline, the stack without ROS at it: no instant of the
    # test is a deadline.
    "max_wait_s": 0.09,
    "realtime": False,
    "policy": f"{__name__}:Swings",
}


class Swings:
    """Swings the joints from where they are; what it sees and which streams there are matters."""

    def __init__(self):
        self.calls = 0

    def reset(self):
        pass

    def infer(self, observation):
        self.calls += 1
        if self.calls == 4:
            raise RuntimeError("out of ideas")
        seen = sum(float(np.nanmean(f)) for f in observation.frames.values() if f is not None)
        swing = 0.1 * np.sin(np.arange(40) / 6.0 + seen + len(observation.task))
        return ActionChunk(observation.stamp_ns, 0.03, observation.state + swing[:, None])


def state_at(tick):
    return SO101.home_rad + 0.02 * np.sin(tick / 10.0 + np.arange(6))


def messages_at(tick):
    """What arrives between a tick and the next, in order: (topic, payload)."""
    if tick % 10 == 0:
        for name in STREAMS:
            lost = (name == "depth" and 30 <= tick < 60) or (name != "depth" and 80 <= tick < 90)
            yield f"{name}/status", ("LOST", "frozen") if lost else ("OK", "")
    yield "joint_states", state_at(tick)
    if tick % 3 == 0:
        for name in STREAMS:
            # A camera whose status is OK and that sends nothing for a while.
            if not (name == "wrist/rgb" and 55 <= tick < 70):
                yield f"{name}/image", frame(name, tick)
    if tick in (8, 70):
        yield "task", "pick the cube" if tick == 8 else "drop it"


def frame(name, tick):
    if name == "depth":
        return np.full((48, 64), 0.5 + 0.001 * tick, np.float32)
    return np.full((48, 64, 3), tick, np.uint8)


class Recorded(PolicyRunner):
    """Keeps what it decided, and counts the answers that are over."""

    newest: "Recorded"

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        Recorded.newest = self
        self.log, self.tasks, self.sets, self.answered = [], [], [], 0
        on_set = self.view.on_set
        self.view.on_set = lambda *taken: (on_set(*taken), self.sets.append(taken[:2]))

    def give_task(self, task):
        super().give_task(task)
        self.tasks.append(task)

    def tick(self, now_ns, *args):
        tick = super().tick(now_ns, *args)
        self.log.append((now_ns, tick, self.mask, self.mode))
        return tick

    def infer(self, *args):
        answer = super().infer(*args)
        self.answered += answer is None
        return answer

    def merge(self, *args):
        merged = super().merge(*args)
        self.answered += 1
        return merged


class Counted(Synchronizer):
    newest: "Counted"

    def __init__(self, *args):
        super().__init__(*args)
        Counted.newest = self
        self.added = 0

    def add(self, *args):
        self.added += 1
        return super().add(*args)


class ByHand:
    """A control loop that the test ticks."""

    rate_hz = 50.0
    lag = LagMeter()

    def __init__(self, period_s, tick, on_error):
        self.tick = tick

    def start(self):
        pass

    stop = start


class Without:
    """The stack without ROS, fed with the same messages."""

    def __init__(self, table):
        settings = PolicySettings(**SETTINGS)
        self.runner = Recorded(Swings(), SO101.joint_names, table, settings)
        self.inference = DelayedInference(self.runner, 0.0)
        self.synchronizer = Counted(
            table.names, round(settings.slop_s * 1e9), round(settings.max_wait_s * 1e9)
        )
        self.statuses = dict.fromkeys(table.names, ("LOST", "status_late"))
        for name in table.names:
            self.synchronizer.set_alive(name, False, 0)

    def pass_time(self, now_ns):
        deadline_ns = self.synchronizer.deadline_ns
        if deadline_ns is not None and now_ns >= deadline_ns:
            self.emit(self.synchronizer.tick(now_ns), now_ns)

    def take(self, topic, payload, now_ns):
        name, _, kind = topic.rpartition("/")
        if kind == "status":
            self.statuses[name] = payload
            alive = payload[0] != "LOST"
            self.emit(self.synchronizer.set_alive(name, alive, now_ns), now_ns)
        elif kind == "joint_states":
            self.runner.view.states.add(now_ns, payload)
        elif kind == "task":
            self.runner.give_task(payload)
        else:
            self.emit(self.synchronizer.add(name, now_ns, payload, now_ns), now_ns)

    def emit(self, sets, now_ns):
        for made in sets:
            self.runner.view.on_set(now_ns, made.stamp_ns, made.messages, made.masked)

    def tick(self, now_ns):
        tick = self.runner.tick(now_ns, self.statuses)
        if tick.request is not None:
            self.inference.start(tick.request, now_ns, self.statuses)
            self.inference.take_answer(now_ns)


class Live:
    """The policy node on a graph with simulated time."""

    def __init__(self, graph, streams_file):
        self.graph, probe = graph, graph.probe
        self.clock = probe.create_publisher(Clock, "/clock", 10)
        self.publishers = {
            "joint_states": probe.create_publisher(JointState, "joint_states", 10),
            "task": probe.create_publisher(String, "task", LATCHED),
        }
        for name in STREAMS:
            image = probe.create_publisher(Image, f"{name}/image", qos_profile_sensor_data)
            self.publishers[f"{name}/image"] = image
            status = probe.create_publisher(DiagnosticArray, f"{name}/status", 10)
            self.publishers[f"{name}/status"] = status
        self.trajectories = []
        probe.create_subscription(JointTrajectory, "joint_trajectory", self.trajectories.append, 10)
        values = {**SETTINGS, "streams_file": str(streams_file), "use_sim_time": True}
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        self.node = graph.add(policy_node.PolicyNode(parameter_overrides=overrides))
        self.runner, self.synchronizer = Recorded.newest, Counted.newest
        self.bridge, self.submitted = CvBridge(), 0
        everything = [self.clock, *self.publishers.values()]
        graph.spin_until(lambda: all(p.get_subscription_count() for p in everything))

    def pass_time(self, now_ns):
        message = Clock()
        message.clock.sec, message.clock.nanosec = divmod(now_ns, 10**9)
        self.clock.publish(message)
        self.graph.spin_until(lambda: self.node.get_clock().now().nanoseconds == now_ns)
        # The timer of a set that has waited long enough.
        self.graph.spin_until(
            lambda: (self.synchronizer.deadline_ns or now_ns + 1) > now_ns,
        )

    def take(self, topic, payload, now_ns):
        name, _, kind = topic.rpartition("/")
        if kind == "status":
            values = {"state": payload[0], "reason": payload[1], "rate_hz": "15", "age_s": "0"}
            pairs = [KeyValue(key=k, value=v) for k, v in {**values, "frames": "1"}.items()]
            message = DiagnosticArray(status=[DiagnosticStatus(name=name, values=pairs)])
        elif kind == "joint_states":
            message = JointState(name=list(SO101.joint_names), position=payload.tolist())
        elif kind == "task":
            message = String(data=payload)
        else:
            message = self.bridge.cv2_to_imgmsg(payload, "32FC1" if name == "depth" else "rgb8")
        if kind in ("joint_states", "image"):
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(now_ns, 10**9)
        added, tasks = self.synchronizer.added, len(self.runner.tasks)
        self.publishers[topic].publish(message)
        arrived = {
            "status": lambda: self.node._inputs.states_of_streams()[name] == payload,
            "joint_states": lambda: self.runner.view.states.age_s(now_ns) == 0.0,
            "task": lambda: len(self.runner.tasks) >= tasks + 1,
            "image": lambda: self.synchronizer.added > added,
        }
        self.graph.spin_until(arrived[kind])

    def tick(self, now_ns):
        sent = len(self.trajectories)
        self.node._control.tick()
        _, tick, _, _ = self.runner.log[-1]
        self.submitted += tick.request is not None
        self.graph.spin_until(lambda: self.runner.answered == self.submitted)
        if tick.targets is not None:
            self.graph.spin_until(lambda: len(self.trajectories) > sent)


@pytest.fixture
def streams_file(tmp_path):
    file = tmp_path / "streams.yaml"
    file.write_text(
        "streams:\n"
        + "".join(
            f"  - {{name: {name}, kind: {name.rpartition('/')[2]}, height: 48, width: 64, "
            "rate_hz: 15.0, frame_id: camera_optical_frame}\n"
            for name in STREAMS
        )
    )
    return file


def test_the_node_decides_what_a_runner_decides(graph, streams_file, monkeypatch):
    monkeypatch.setattr(policy_node, "PeriodicThread", ByHand)
    monkeypatch.setattr(policy_node, "PolicyRunner", Recorded)
    monkeypatch.setattr(stream_synchronizer, "Synchronizer", Counted)
    # How late this machine runs must not matter.
    monkeypatch.setattr(LagMeter, "worst_s", lambda *_: 0.0)
    without = Without(load_stream_table(streams_file))
    live = Live(graph, streams_file)
    for number in range(TICKS):
        now_ns = START_NS + number * TICK_NS
        for stack in (without, live):
            stack.pass_time(now_ns)
            stack.tick(now_ns)
        arrival_ns = now_ns + 7_000_000
        for stack in (without, live):
            stack.pass_time(arrival_ns)
            for topic, payload in messages_at(number):
                stack.take(topic, payload, arrival_ns)
        compare(live, without)
    reasons = {reason for _, _, mask, _ in without.runner.log for reason in mask.reasons.values()}
    assert {"status_late", "frozen", "image late"} <= reasons
    assert {mode.name for *_, mode in without.runner.log} == {"idle", "hold", "running"}
    assert any("out of ideas" in mode.reason for *_, mode in without.runner.log)
    assert without.runner.inferences > 5


def compare(live, without):
    """The newest tick, the sets and the queue of both."""
    (_, mine, mask, mode), (_, theirs, expected, wanted) = (
        live.runner.log[-1],
        without.runner.log[-1],
    )
    assert live.runner.sets == without.runner.sets
    assert dict(mask.available) == dict(expected.available)
    assert dict(mask.reasons) == dict(expected.reasons)
    assert mode == wanted
    assert mine.request == theirs.request
    np.testing.assert_equal(mine.targets, theirs.targets)
    queued, plan = live.runner.queued(), without.runner.queued()
    assert (queued is None) == (plan is None)
    if plan is not None:
        np.testing.assert_array_equal(queued.times_ns, plan.times_ns)
        np.testing.assert_array_equal(queued.targets, plan.targets)
    if theirs.targets is not None:
        sent = [list(point.positions) for point in live.trajectories[-1].points]
        np.testing.assert_array_equal(sent, theirs.targets)
