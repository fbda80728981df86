"""Who runs late is reported once, to everybody, and a new policy node starts from nothing."""

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.qos import DurabilityPolicy, QoSProfile

from multismolvla.control.load_shedding import OVERLOADED_S, Load
from multismolvla.nodes import load_message
from multismolvla.nodes.load_watch import LoadWatch
from multismolvla.nodes.status_message import STATUS_QOS, to_message
from multismolvla.nodes.status_monitor import StatusMonitor
from multismolvla.sensing.health import HealthReport, State

LATCHED = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
LATE_S = 3 * OVERLOADED_S


def test_a_load_survives_its_message():
    load = Load(True, "overloaded: rgb_node runs 180 ms late", 0.18, ("segmentation rate",))
    assert load_message.from_status(load_message.to_status(load)) == load
    assert load_message.from_status(load_message.to_status(Load())) == Load()


@pytest.mark.parametrize("values", [{}, {"overload": "", "lag_ms": "much", "shed": ""}])
def test_what_is_no_load_is_one_line(values):
    status = DiagnosticStatus(values=[KeyValue(key=k, value=v) for k, v in values.items()])
    with pytest.raises(ValueError, match=r"^not a load: "):
        load_message.from_status(status)


def test_a_sensor_node_that_runs_late_is_known_everywhere(graph):
    heard = []
    load_message.listen(graph.probe, heard.append)
    statuses = StatusMonitor(graph.probe, ["rgb", "depth"])
    watch = LoadWatch(graph.probe, statuses, lambda: 0.0)
    graph.spin_until(lambda: heard == [Load()])
    publisher = graph.probe.create_publisher(DiagnosticArray, "rgb/status", STATUS_QOS)
    report = HealthReport(State.OK, (), "", 15.0, 0.0, 1)
    now = graph.probe.get_clock().now()

    def late() -> bool:
        publisher.publish(to_message("rgb", "/rgb_node", report, now, LATE_S))
        return watch.tick().overloaded

    graph.spin_until(late)
    assert watch.load.reason == f"overloaded: rgb_node runs {LATE_S * 1e3:.0f} ms late"
    graph.spin_until(lambda: heard[-1].overloaded)
    assert heard[-1].lag_s == pytest.approx(LATE_S)


def test_a_simulator_that_says_nonsense_is_ignored(graph):
    watch = LoadWatch(graph.probe, StatusMonitor(graph.probe, ["rgb"]), lambda: 0.02)
    publisher = graph.probe.create_publisher(DiagnosticStatus, "sim_node/result", LATCHED)

    def say(text: str) -> None:
        publisher.publish(DiagnosticStatus(values=[KeyValue(key="lag_ms", value=text)]))

    def heard() -> bool:
        say("soon")
        say(f"{LATE_S * 1e3:.0f}")
        return watch.tick().overloaded

    graph.spin_until(heard)
    assert "sim_node" in watch.load.reason
