"""web_monitor on a real graph, with a page that only remembers: what it hears, shows and does."""

from __future__ import annotations

import array
import time

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from multismolvla.embodiment.so101 import SO101
from multismolvla.monitoring.health_panel import Light
from multismolvla.nodes import web_monitor
from multismolvla.nodes.fault_injector import FaultInjector
from multismolvla.nodes.status_message import to_message
from multismolvla.nodes.trajectory_message import trajectory_message
from multismolvla.nodes.web_monitor import WebMonitor
from multismolvla.sensing.health import HealthReport, State

GOOD = HealthReport(State.OK, (), "", 15.0, 0.01, 100)
LOST = HealthReport(State.LOST, ("stale",), "", 0.0, 1.0, 100)
ALWAYS = {"rgb/status", "policy/status", "so101_driver/status"}
SCENE = {"joint_states", "policy/chunk"}


class RememberingPage:
    """Stands in for the page; `shown` has the newest of everything."""

    url = "nowhere"

    def __init__(self, host, port, *, actions, views, **_) -> None:
        self.actions, self.views = actions, views
        self.watched, self.view = False, views[0]
        self.arm = self
        self.shown: dict = {}

    def show_cameras(self, picture) -> None:
        self.shown["picture"] = picture

    def show_health(self, verdict, timeline) -> None:
        self.shown |= {"verdict": verdict, "timeline": timeline}

    def show_task(self, mode, task) -> None:
        self.shown["task"] = (mode, task)

    def show_plots(self, plots) -> None:
        self.shown["plots"] = plots

    def show_injector(self, breakable, note, light) -> None:
        self.shown |= {"breakable": breakable, "note": note}

    def answer(self, text, light) -> None:
        if text:
            self.shown["answer"] = (text, light)

    def turn(self, joints) -> None:
        self.shown["joints"] = joints

    def plan(self, points, opacity) -> None:
        self.shown["plan"] = points

    def close(self) -> None:
        pass


class Watched:
    """The node with its page, and a stack that says what it is told to."""

    def __init__(self, graph) -> None:
        self.graph = graph
        self.node = graph.add(WebMonitor())
        self.page: RememberingPage = self.node.page
        self.shown = self.page.shown
        create = graph.probe.create_publisher
        sensor = qos_profile_sensor_data
        self.publishers = {
            "policy/status": create(DiagnosticArray, "policy/status", 1),
            "so101_driver/status": create(DiagnosticArray, "so101_driver/status", 1),
            "joint_states": create(JointState, "joint_states", 1),
            "policy/chunk": create(JointTrajectory, "policy/chunk", 1),
            "rgb/status": create(DiagnosticArray, "rgb/status", 1),
            "rgb/image": create(Image, "rgb/image", sensor),
            "wrist/rgb/image": create(Image, "wrist/rgb/image", sensor),
        }
        self.health = GOOD
        self.mask = "1"

    def subscribed(self) -> set[str]:
        return {t for t, publisher in self.publishers.items() if publisher.get_subscription_count()}

    def say(self) -> None:
        """Publish what a stack would, once."""
        now = self.graph.probe.get_clock().now()
        self.publishers["rgb/status"].publish(to_message("rgb", "", self.health, now))
        values = {"mode": "running", "task": "the task", "mask.rgb": self.mask, "queue_s": "0.4"}
        self.publishers["policy/status"].publish(status(**values))
        self.publishers["so101_driver/status"].publish(status(state="TRACKING", torque="1"))
        joints = JointState(name=list(SO101.joint_names), position=SO101.home_rad.tolist())
        self.publishers["joint_states"].publish(joints)
        self.publishers["rgb/image"].publish(image())

    def until(self, condition) -> None:
        """Run the stack until the condition holds."""

        def met() -> bool:
            self.say()
            return condition()

        self.graph.spin_until(met)


def status(**values) -> DiagnosticArray:
    pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
    return DiagnosticArray(
        status=[DiagnosticStatus(level=DiagnosticStatus.OK, name="x", values=pairs)]
    )


def image() -> Image:
    message = Image(height=96, width=96, encoding="rgb8", step=288)
    message.data = array.array("B", bytes([0, 200, 0]) * 96 * 96)
    return message


@pytest.fixture
def watched(graph, monkeypatch):
    monkeypatch.setattr(web_monitor, "Page", RememberingPage)
    return Watched(graph)


def test_with_nobody_watching_it_listens_to_statuses_only(watched):
    watched.graph.spin_until(lambda: watched.subscribed() == ALWAYS)
    watched.page.watched = True
    watched.graph.spin_until(lambda: watched.subscribed() == ALWAYS | SCENE | {"rgb/image"})
    watched.page.view = "wrist"
    watched.graph.spin_until(lambda: watched.subscribed() == ALWAYS | SCENE | {"wrist/rgb/image"})
    watched.page.watched = False
    watched.graph.spin_until(lambda: watched.subscribed() == ALWAYS)


def rgb_tile(watched):
    """The middle of a quarter of the RGB picture, without caption and crossing lines."""
    return watched.shown["picture"][60:80, 85:105].reshape(-1, 3).mean(axis=0)


def test_a_usable_picture_is_shown_and_a_masked_one_is_not_taken_for_it(watched):
    watched.page.watched = True
    watched.until(lambda: "picture" in watched.shown and rgb_tile(watched)[1] > 190)
    assert watched.shown["joints"]["gripper"] == SO101.home_rad[-1]
    # The camera goes on, but the policy does not use it.
    watched.mask = "0"
    watched.until(lambda: rgb_tile(watched)[1] < 60)
    watched.until(lambda: 'data-stream="rgb" data-state="masked"' in watched.shown["timeline"])
    watched.mask = "1"
    watched.until(lambda: rgb_tile(watched)[1] > 190)
    watched.health = LOST
    watched.until(lambda: rgb_tile(watched)[1] < 60)
    watched.until(lambda: "MASKED: stale" in watched.shown["timeline"])


def test_what_was_before_anybody_looked_is_on_the_timeline(watched):
    def past() -> list[str]:
        return [span.state for span in watched.node._state.timeline(time.monotonic())["rgb"]]

    watched.until(lambda: past()[-1:] == ["usable"])
    watched.health = LOST
    watched.until(lambda: past()[-2:] == ["usable", "masked"])
    watched.page.watched = True
    watched.until(lambda: "timeline" in watched.shown)
    assert watched.shown["timeline"].partition("</g>")[0].count("<rect") >= 2


def test_the_plan_is_shown_while_the_policy_runs(watched):
    watched.page.watched = True
    watched.graph.spin_until(lambda: "policy/chunk" in watched.subscribed())
    now_ns = watched.graph.probe.get_clock().now().nanoseconds
    rows = [SO101.home_rad + 0.01 * i for i in range(60)]
    times_ns = now_ns + np.arange(60) * 10**9
    message = trajectory_message(SO101.joint_names, times_ns, np.array(rows))
    watched.publishers["policy/chunk"].publish(message)
    watched.until(lambda: len(watched.shown.get("plan", ())) > 50)
    # The policy falls silent.
    watched.graph.spin_until(lambda: len(watched.shown["plan"]) == 0)


def test_the_buttons_break_and_mend_through_the_injector(watched):
    watched.page.watched = True
    watched.graph.spin_until(lambda: "No fault injector runs" in watched.shown.get("note", ""))
    assert watched.shown["breakable"] == {}
    watched.page.actions.kill("rgb", "drop", 3)
    watched.graph.spin_until(lambda: watched.shown.get("answer", ("",))[1:] == (Light.BAD,))

    injector = watched.graph.add(FaultInjector())
    watched.graph.spin_until(lambda: watched.shown["breakable"])
    assert watched.shown["note"] == ""
    assert {stream.fault for stream in watched.shown["breakable"].values()} == {None}
    # Nobody takes the pictures that the injector gives.
    assert not watched.shown["breakable"]["rgb"].possible
    watched.graph.probe.create_subscription(Image, "rgb/faulty/image_raw", print, 1)
    watched.graph.spin_until(lambda: watched.shown["breakable"]["rgb"].possible)

    def faults() -> dict:
        return {name: s.fault for name, s in watched.shown["breakable"].items() if s.fault}

    watched.page.actions.kill("rgb", "drop", 3)
    watched.page.actions.kill("wrist/depth", "noise", 5)
    watched.graph.spin_until(lambda: faults() == {"rgb": "drop", "wrist/depth": "noise"})
    assert injector.get_parameter("wrist.depth.severity").value == 5
    watched.page.actions.kill("joint_states", "black", 3)
    watched.graph.spin_until(lambda: "refused" in watched.shown["answer"][0])
    watched.page.actions.mend("rgb")
    watched.graph.spin_until(lambda: faults() == {"wrist/depth": "noise"})
    watched.page.actions.mend_all()
    watched.graph.spin_until(lambda: faults() == {})


def test_an_instruction_is_sent(watched):
    heard = []
    watched.graph.probe.create_subscription(String, "task", heard.append, 1)
    watched.graph.spin_until(lambda: watched.graph.probe.count_publishers("task"))
    watched.page.actions.set_task("  put the red cube\nin the bin ")
    watched.graph.spin_until(lambda: len(heard) == 1)
    watched.page.actions.set_task("")
    watched.graph.spin_until(lambda: len(heard) == 2)
    assert [message.data for message in heard] == ["put the red cube in the bin", ""]


def test_stop_and_resume_reach_the_driver_and_say_so_where_there_is_none(watched):
    watched.page.actions.stop()
    watched.graph.spin_until(lambda: "answer" in watched.shown)
    text, light = watched.shown["answer"]
    assert "NOTHING was done" in text and light is Light.BAD

    called = []

    def serve(name):
        def answer(_, response):
            called.append(name)
            response.success, response.message = True, f"{name} it is"
            return response

        watched.graph.probe.create_service(Trigger, f"so101_driver/{name}", answer)

    serve("stop"), serve("reset")
    done = ("stop: stop it is", Light.GOOD)
    # Until the driver is discovered, too, the page says that nothing was done.
    while watched.shown["answer"] != done:
        watched.shown.pop("answer")
        watched.page.actions.stop()
        watched.graph.spin_until(lambda: "answer" in watched.shown)
    watched.page.actions.resume()
    done = ("resume: reset it is", Light.GOOD)
    watched.graph.spin_until(lambda: watched.shown["answer"] == done)
    assert called == ["stop", "reset"]


def bad_messages():
    """(topic, message) of what a broken or hostile publisher may send."""
    nan = [float("nan")] * 6
    yield "joint_states", JointState(name=list(SO101.joint_names), position=nan)
    yield "joint_states", JointState()
    yield "policy/chunk", JointTrajectory(joint_names=["x"])
    for topic in ("policy/status", "so101_driver/status", "rgb/status"):
        yield topic, DiagnosticArray()
        yield topic, status(mode="\0", state="<script>", queue_s="x", **{"mask.rgb": "\n" * 999})
    yield "rgb/image", Image()
    short = image()
    short.data = short.data[:7]
    yield "rgb/image", short
    unknown = image()
    unknown.encoding = "nonsense"
    yield "rgb/image", unknown
    large = Image(height=3, width=500, encoding="rgb8", step=1500)
    large.data = array.array("B", bytes(4500))
    yield "rgb/image", large


def test_it_outlives_every_bad_message(watched):
    watched.page.watched = True
    watched.graph.spin_until(lambda: watched.subscribed() >= SCENE | {"rgb/image"})
    for topic, message in bad_messages():
        watched.publishers[topic].publish(message)
        watched.shown.pop("picture", None)
        watched.graph.spin_until(lambda: "picture" in watched.shown)
    watched.until(lambda: rgb_tile(watched)[1] > 190)
    assert "<script>" not in watched.shown["verdict"]
