"""so101_driver on a real graph, with an emulated bus and a massless arm."""

import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from multismolvla.embodiment.so101 import SO101
from multismolvla.nodes import so101_driver
from multismolvla.nodes.parameters import ParameterError
from multismolvla.nodes.so101_driver import SO101Driver
from multismolvla.robot.bus import FeetechBus
from multismolvla.robot.emulator import EmulatedBus
from multismolvla.robot.first_order_plant import FirstOrderPlant

CALIBRATION = Path(__file__).parents[2] / "config" / "so101_sim_calibration.json"
TARGET = SO101.home_rad + np.array([0.3, 0.2, -0.2, -0.2, 0.3, 0.3])
BUS_TIMEOUT_S = 0.3
ELBOW = SO101.joint_names.index("elbow_flex")


class Arm:
    """An emulated arm with a driver, and everything the driver says."""

    def __init__(self, graph, tmp_path, monkeypatch):
        self.graph = graph
        self.plant = FirstOrderPlant()
        self.bus = EmulatedBus(self.plant, link=tmp_path / "so101")
        self.calibration = tmp_path / "calibration.json"
        shutil.copy(CALIBRATION, self.calibration)
        self.states, self.statuses, self.logged = [], [], []
        self.drivers = []
        probe = graph.probe
        probe.create_subscription(JointState, "joint_states", self.states.append, 1)
        probe.create_subscription(DiagnosticArray, "so101_driver/status", self._on_status, 1)
        self.publisher = probe.create_publisher(JointTrajectory, "joint_trajectory", 1)
        self._target = None
        self._stamp_offset_ns = 0
        probe.create_timer(0.02, self._command)
        # Patient with emulated servos that answer late on a busy machine.
        patient = partial(FeetechBus, timeout_s=BUS_TIMEOUT_S)
        monkeypatch.setattr(so101_driver, "FeetechBus", patient)
        event = so101_driver.log_event
        monkeypatch.setattr(
            so101_driver,
            "log_event",
            lambda node, severity, text: (
                self.logged.append((severity, text)),
                event(node, severity, text),
            ),
        )

    def _on_status(self, message):
        status = message.status[0]
        self.statuses.append((status.level, {value.key: value.value for value in status.values}))

    def _command(self):
        if self._target is not None:
            self.publisher.publish(self.trajectory(self._target))

    def trajectory(self, target, names=SO101.joint_names, offset_ns=0):
        message = JointTrajectory(joint_names=list(names))
        now_ns = self.graph.probe.get_clock().now().nanoseconds + offset_ns
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(now_ns, 10**9)
        message.points = [JointTrajectoryPoint(positions=[float(value) for value in target])]
        return message

    def start(self, **parameters):
        # Patient with a probe that publishes late on a busy machine.
        values = {
            "port": str(self.bus.port),
            "calibration": str(self.calibration),
            "ramp_s": 0.1,
            "command_timeout_s": 0.5,
        }
        overrides = [Parameter(key, value=value) for key, value in {**values, **parameters}.items()]
        driver = self.graph.add(SO101Driver(parameter_overrides=overrides))
        self.drivers.append(driver)
        return driver

    def command(self, target):
        """Publish this target at 50 Hz from now on; None stops."""
        self._target = target

    def value(self, key):
        return self.statuses[-1][1].get(key) if self.statuses else None

    def wait_state(self, state, reason=""):
        def reached():
            return self.value("state") == state and reason in self.value("reason")

        self.graph.spin_until(reached)

    def wait_at(self, target):
        self.graph.spin_until(lambda: np.allclose(self.plant.positions_rad(), target, atol=0.02))

    def errors(self):
        return [text for severity, text in self.logged if severity == "error"]

    def close(self):
        for driver in self.drivers:
            driver.close()
        self.bus.close()


@pytest.fixture
def arm(graph, tmp_path, monkeypatch):
    arm = Arm(graph, tmp_path, monkeypatch)
    yield arm
    arm.close()


def test_follows_a_trajectory_and_reports_the_joints(arm):
    arm.start()
    arm.wait_state("IDLE")
    arm.graph.spin_until(lambda: arm.statuses[-1][0] == DiagnosticStatus.OK)
    assert arm.plant.torque().all()
    arm.command(TARGET)
    arm.wait_at(TARGET)
    arm.graph.spin_until(
        lambda: list(arm.states[-1].name) == list(SO101.joint_names)
        and np.allclose(arm.states[-1].position, TARGET, atol=0.03)
    )
    assert len(arm.states[-1].velocity) == len(arm.states[-1].effort) == 6
    arm.graph.spin_until(lambda: arm.value("temperature_c.gripper") == "25")
    arm.wait_state("TRACKING")


def test_joints_are_matched_by_name(arm):
    arm.start()
    arm.wait_state("IDLE")
    message = arm.trajectory(TARGET[::-1], names=SO101.joint_names[::-1])

    def publish_again():
        now = arm.graph.probe.get_clock().now().to_msg()
        message.header.stamp = now
        arm.publisher.publish(message)
        return np.allclose(arm.plant.positions_rad(), TARGET, atol=0.02)

    arm.graph.spin_until(publish_again)


def test_holds_when_commands_stop_and_resumes(arm):
    arm.start()
    arm.wait_state("IDLE")
    arm.command(TARGET)
    arm.wait_state("TRACKING")
    arm.command(None)
    arm.wait_state("HOLD", "stale command")
    assert arm.plant.torque().all()
    arm.command(TARGET)
    arm.wait_at(TARGET)


def test_writes_no_goals_while_it_holds(arm):
    arm.start()
    arm.wait_state("IDLE")
    arm.command(TARGET)
    arm.wait_at(TARGET)
    arm.command(None)
    arm.wait_state("HOLD")
    arm.plant.move_to(SO101.home_rad)
    count = len(arm.states)
    arm.graph.spin_until(lambda: len(arm.states) > count + 10)
    np.testing.assert_allclose(arm.plant.positions_rad(), SO101.home_rad, atol=0.002)


@pytest.mark.parametrize(
    ("target", "names", "reason"),
    [
        ([np.nan] * 6, SO101.joint_names, "shoulder_pan has a position that is not finite"),
        ([0.0] * 6, (*SO101.joint_names[:5], "tail"), "unknown joint 'tail'"),
        ([0.0] * 5, SO101.joint_names[:5], "joint 'gripper' is there 0 times"),
        ([0.0] * 4, SO101.joint_names, "a point has 4 positions"),
    ],
)
def test_a_trajectory_it_cannot_use_makes_it_hold(arm, target, names, reason):
    arm.start()
    arm.wait_state("IDLE")
    arm.command(TARGET)
    arm.wait_at(TARGET)
    arm.command(None)
    arm.publisher.publish(arm.trajectory(target, names))
    arm.wait_state("HOLD", reason)
    np.testing.assert_allclose(arm.plant.positions_rad(), TARGET, atol=0.03)
    assert sum(reason in text for _, text in arm.logged) == 1


def test_a_command_that_arrives_late_moves_nothing(arm):
    arm.start()
    arm.wait_state("IDLE")
    arm.publisher.publish(arm.trajectory(TARGET, offset_ns=-(10**9)))
    arm.wait_state("IDLE", "stale command")
    np.testing.assert_allclose(arm.plant.positions_rad(), SO101.home_rad, atol=0.002)


def test_targets_beyond_the_limits_stay_within_them(arm):
    arm.start()
    arm.wait_state("IDLE")
    arm.command(np.array([9.0, 9.0, -9.0, 9.0, -9.0, 9.0]))
    arm.wait_state("TRACKING", "at the joint limit: shoulder_pan")
    limits = np.where([True, True, False, True, False, True], SO101.upper_rad, SO101.lower_rad)
    arm.wait_at(limits)
    assert (arm.plant.goals_rad() <= SO101.upper_rad + 0.001).all()
    assert (arm.plant.goals_rad() >= SO101.lower_rad - 0.001).all()


def test_a_stop_is_latched_until_reset(arm):
    arm.start()
    arm.wait_state("IDLE")
    arm.command(TARGET)
    arm.wait_state("TRACKING")
    assert arm.graph.call(Trigger, "so101_driver/stop").success
    arm.wait_state("STOPPED", "call ~/reset")
    count = len(arm.states)
    arm.graph.spin_until(lambda: len(arm.states) > count + 20)
    assert arm.value("state") == "STOPPED"
    assert arm.graph.call(Trigger, "so101_driver/reset").success
    arm.wait_at(TARGET)


def test_torque_off_leaves_the_arm_limp_and_on_holds_it_where_it_is(arm):
    arm.start()
    arm.wait_state("IDLE")
    assert arm.graph.call(SetBool, "so101_driver/torque", SetBool.Request(data=False)).success
    assert not arm.plant.torque().any()
    arm.command(TARGET)
    arm.wait_state("HOLD", "torque is off")
    arm.command(None)
    arm.plant.move_to(TARGET)
    assert arm.graph.call(SetBool, "so101_driver/torque", SetBool.Request(data=True)).success
    np.testing.assert_allclose(arm.plant.goals_rad(), TARGET, atol=0.002)
    assert arm.plant.torque().all()


def test_a_silent_servo_is_named_once_and_work_resumes(arm):
    arm.start()
    arm.wait_state("IDLE")
    arm.command(TARGET)
    arm.wait_state("TRACKING")
    arm.bus.drop(ELBOW)
    arm.graph.spin_until(lambda: arm.statuses[-1][0] == DiagnosticStatus.ERROR)
    assert "no answer from servo 3 (elbow_flex)" in arm.value("reason")
    arm.bus.restore(ELBOW)
    arm.wait_at(TARGET)
    assert arm.plant.torque().all()
    assert sum("elbow_flex" in text for text in arm.errors()) == 1


def test_single_damaged_answers_disturb_nothing(arm):
    arm.start()
    arm.wait_state("IDLE")
    arm.command(TARGET)
    arm.wait_state("TRACKING")
    arm.bus.corrupt(6)
    arm.bus.halve(6)
    arm.wait_at(TARGET)
    assert not arm.errors()


def test_lasting_damage_holds_and_work_resumes(arm):
    arm.start()
    arm.wait_state("IDLE")
    arm.command(TARGET)
    arm.wait_state("TRACKING")
    arm.bus.corrupt(10**6)
    arm.graph.spin_until(lambda: arm.statuses[-1][0] == DiagnosticStatus.ERROR)
    assert "damaged answers" in arm.value("reason")
    arm.bus.corrupt(0)
    arm.wait_at(TARGET)


def test_an_unplugged_bus_is_reported_once_and_taken_up_again(arm):
    arm.start()
    arm.wait_state("IDLE")
    arm.command(TARGET)
    arm.wait_state("TRACKING")
    arm.bus.unplug()
    arm.graph.spin_until(lambda: arm.statuses[-1][0] == DiagnosticStatus.ERROR)
    assert "is gone" in arm.value("reason")
    # Long enough for more than one attempt to open the port.
    count = len(arm.statuses)
    arm.graph.spin_until(lambda: len(arm.statuses) > count + 4)
    arm.bus.plug_in()
    arm.wait_at(TARGET)
    assert len(arm.errors()) == 1


def test_a_servo_in_overload_makes_the_arm_hold(arm):
    arm.start()
    arm.wait_state("IDLE")
    arm.command(TARGET)
    arm.wait_state("TRACKING")
    arm.bus.servos.injected_status[ELBOW] = 1 << 5
    arm.wait_state("HOLD", "servo 3 (elbow_flex) reports overload")
    arm.bus.servos.injected_status[ELBOW] = 0
    arm.wait_at(TARGET)


def test_a_servo_in_trouble_before_the_first_command_is_a_warning(arm):
    arm.bus.servos.injected_status[ELBOW] = 1 << 2
    arm.start()
    arm.wait_state("IDLE", "servo 3 (elbow_flex) reports overheated")
    assert arm.statuses[-1][0] == DiagnosticStatus.WARN


def test_a_second_driver_on_the_port_says_who_has_it(arm):
    with FeetechBus(arm.bus.port):
        arm.start()
        arm.wait_state("HOLD", f"is used by process {os.getpid()}")
        assert arm.statuses[-1][0] == DiagnosticStatus.ERROR
    arm.wait_state("IDLE")
    assert len(arm.errors()) == 1


def test_a_missing_calibration_is_waited_for(arm, monkeypatch):
    monkeypatch.setattr("multismolvla.nodes.so101_driver.CONFIGURE_PERIOD_S", 0.05)
    arm.calibration.unlink()
    arm.start()
    arm.wait_state("UNCONFIGURED", "no calibration of the arm there")
    assert arm.statuses[-1][0] == DiagnosticStatus.ERROR
    assert not arm.graph.call(Trigger, "so101_driver/stop").success
    shutil.copy(CALIBRATION, arm.calibration)
    arm.wait_state("IDLE")


def test_a_calibration_of_another_arm_drives_nothing(arm):
    content = json.loads(CALIBRATION.read_text())
    content["elbow_flex"]["homing_offset"] += 10
    arm.calibration.write_text(json.dumps(content))
    arm.start()
    arm.wait_state("HOLD", "servo 3 (elbow_flex): Homing_Offset is -987, expected -977")
    assert not arm.plant.torque().any()


def test_started_anew_it_goes_on_from_where_the_arm_holds(arm):
    first = arm.start()
    arm.wait_state("IDLE")
    arm.command(TARGET)
    arm.wait_at(TARGET)
    arm.command(None)
    # As after a kill: the port is free, the servos hold.
    first.close()
    assert arm.plant.torque().all()
    arm.graph.executor.remove_node(first)
    arm.graph.nodes.remove(first)
    arm.drivers.remove(first)
    first.destroy_node()
    arm.statuses.clear()
    arm.start()
    arm.wait_state("IDLE")
    np.testing.assert_allclose(arm.plant.goals_rad(), TARGET, atol=0.003)


def test_killed_in_motion_the_arm_holds_and_a_new_driver_goes_on(arm):
    # So slow that it is killed on the way, however late this test gets to it.
    command = [
        sys.executable,
        "-c",
        "from multismolvla.nodes.so101_driver import main; main()",
        "--ros-args",
        *("-p", f"port:={arm.bus.port}", "-p", f"calibration:={arm.calibration}"),
        *("-p", "ramp_s:=0.1", "-p", "max_velocity_rad_s:=0.05"),
    ]
    process = subprocess.Popen(command)
    try:
        arm.command(TARGET)
        arm.wait_state("TRACKING")
        start = arm.plant.goals_rad()
        arm.graph.spin_until(lambda: not np.allclose(arm.plant.goals_rad(), start, atol=0.05))
    finally:
        process.kill()
        process.wait()
    held = arm.plant.goals_rad()
    assert arm.plant.torque().all()
    assert not np.allclose(held, TARGET, atol=0.02)
    arm.start()
    arm.wait_at(TARGET)
    assert not arm.errors()


def test_a_misspelt_parameter_stops_the_node(arm):
    with pytest.raises(ParameterError, match="unknown parameter 'prot'"):
        arm.start(prot="/dev/null")
