"""The arm runner, ticked by hand on clocks of its own, on an emulated bus."""

import numpy as np
import pytest

from multismolvla.control.safety import Command, SafetyFilter, SafetyLimits, SafetyState
from multismolvla.control.trajectory import Trajectory
from multismolvla.embodiment.so101 import SO101
from multismolvla.robot.bus import FeetechBus
from multismolvla.robot.emulator import EmulatedBus
from multismolvla.robot.first_order_plant import FirstOrderPlant
from multismolvla.robot.registers import TORQUE_LIMIT
from multismolvla.robot.servos import simulated_calibration
from multismolvla.robot.so101 import SO101Arm
from multismolvla.stack.arm import safety_filter
from multismolvla.stack.arm_runner import ArmRunner
from multismolvla.stack.settings import DriverSettings

TARGET = SO101.home_rad - 0.2


class Loop:
    def __init__(self, bus: EmulatedBus, plant: FirstOrderPlant):
        self.bus, self.plant = bus, plant
        self.now_ns = 10**12
        self.steady_s = 0.0
        self.events = []
        self.loop = ArmRunner(
            self.open,
            SafetyFilter(
                SafetyLimits(
                    SO101.joint_names,
                    SO101.lower_rad,
                    SO101.upper_rad,
                    np.full(6, 3.0),
                    np.full(6, 30.0),
                    ramp_s=0.0,
                )
            ),
            lambda: self.now_ns,
            lambda state: None,
            lambda severity, text: self.events.append((severity, text)),
            steady_s=lambda: self.steady_s,
        )

    def open(self):
        self.connection = FeetechBus(self.bus.port)
        self.arm = SO101Arm(self.connection, simulated_calibration())
        return self.arm

    def tick(self, target=None, count=1):
        """Advance by `count` periods of 10 ms, each with a fresh command if there is a target."""
        for _ in range(count):
            self.now_ns += 10_000_000
            if target is not None:
                names = SO101.joint_names
                self.loop.follow(Trajectory(self.now_ns, names, [0.0], [list(target)], names))
            self.loop.tick()
        return self.loop.status()

    def goals(self):
        # Goals are written without acknowledgement: an answer shows that they have arrived.
        self.connection.read(1, TORQUE_LIMIT)
        return self.plant.goals_rad()


@pytest.fixture
def loop():
    plant = FirstOrderPlant()
    with EmulatedBus(plant) as bus:
        loop = Loop(bus, plant)
        yield loop
        loop.loop.close()


def test_goals_move_no_faster_than_allowed(loop):
    goals = []
    for _ in range(60):
        loop.tick(TARGET)
        goals.append(loop.goals())
    np.testing.assert_allclose(goals[-1], TARGET, atol=0.002)
    assert np.abs(np.diff(goals, axis=0)).max() <= 0.03 + 0.0016


def test_a_clock_that_jumps_back_drops_the_trajectory_and_work_goes_on(loop):
    loop.tick(TARGET, 5)
    loop.now_ns -= 5 * 10**9
    status = loop.tick(count=20)
    assert status.state is SafetyState.HOLD
    assert status.reason == "the clock jumped back"
    held = loop.goals()
    assert loop.tick(count=5).reason == "the clock jumped back"
    np.testing.assert_array_equal(loop.goals(), held)
    assert loop.tick(TARGET, 60).state is SafetyState.TRACKING
    np.testing.assert_allclose(loop.goals(), TARGET, atol=0.002)


def test_a_clock_that_stands_still_moves_nothing(loop):
    loop.tick(TARGET, 5)
    before = loop.goals()
    for _ in range(10):
        loop.loop.tick()
    np.testing.assert_array_equal(loop.goals(), before)


def test_leaving_a_hold_keeps_the_grip(loop, monkeypatch):
    """A gripper that squeezes is far from its goal; to start where it is would let go."""
    measured = loop.plant.positions_rad
    monkeypatch.setattr(
        loop.plant, "positions_rad", lambda: np.maximum(measured(), [-9, -9, -9, -9, -9, 0.35])
    )
    squeeze = np.append(TARGET[:5], 0.0)
    loop.tick(squeeze, 80)
    loop.loop.hold("policy holds")
    assert loop.tick(count=30).state is SafetyState.HOLD
    loop.tick(squeeze)
    assert loop.goals()[5] == pytest.approx(0.0, abs=0.002)


def test_a_gripper_that_squeezes_into_overload_does_not_stop_the_arm(loop):
    loop.bus.servos.injected_status[5] = 1 << 5
    status = loop.tick(TARGET, 60)
    assert status.state is SafetyState.TRACKING
    np.testing.assert_allclose(loop.goals(), TARGET, atol=0.002)
    assert status.diagnostics["gripper"].status_bits == 1 << 5
    loop.bus.servos.injected_status[5] = 1 << 5 | 1 << 2
    status = loop.tick(TARGET, 2)
    assert status.state is SafetyState.HOLD
    assert status.reason.startswith("servo 6 (gripper) reports overheated; ")


def test_a_servo_that_restarts_limp_is_noticed_and_made_to_hold(loop):
    loop.tick(TARGET, 80)
    loop.bus.servos.power_cycle(2)
    status = loop.tick(TARGET, 60)
    assert "servo 3 (elbow_flex) went limp" in status.fault
    assert status.state is SafetyState.HOLD
    assert not loop.plant.torque()[2]
    # The next attempt comes when this test says so.
    loop.steady_s += 1.0
    assert loop.tick(TARGET, 60).state is SafetyState.TRACKING
    assert loop.plant.torque().all()
    np.testing.assert_allclose(loop.goals(), TARGET, atol=0.002)


def test_an_arm_that_was_made_limp_is_no_fault(loop):
    loop.tick(TARGET, 5)
    # Asks only: nobody waits for the tick that does it.
    loop.loop.set_torque(False, timeout_s=0.0)
    assert not loop.tick(TARGET, 70).fault
    assert not loop.plant.torque().any()


def test_an_opposite_wish_during_the_switch_of_torque_is_not_lost(loop, monkeypatch):
    loop.tick()
    switch = loop.arm.set_torque

    def interrupted(enabled):
        monkeypatch.setattr(loop.arm, "set_torque", switch)
        switch(enabled)
        assert not loop.loop.set_torque(False, 0.0)

    monkeypatch.setattr(loop.arm, "set_torque", interrupted)
    loop.loop.set_torque(True, 0.0)
    assert not loop.tick(count=2).torque


def test_a_fault_is_said_once_and_so_is_its_end(loop):
    loop.tick()
    loop.connection.close()
    loop.tick(count=3)
    assert [severity for severity, _ in loop.events].count("error") == 1


def test_a_slow_loop_is_as_fast_as_allowed():
    """Each period accounts for its whole length, however long that is."""
    settings = DriverSettings(rate_hz=10.0, max_velocity_rad_s=1.0, ramp_s=0.0)
    safety = safety_filter(settings, SO101)
    goals = [
        safety.step(now_ns, SO101.lower_rad, Command(now_ns, SO101.upper_rad)).goal_rad
        for now_ns in range(10**9, 2 * 10**9, 10**8)
    ]
    np.testing.assert_allclose(np.diff(goals, axis=0).max(), 0.1)


def test_the_supply_s_bit_in_every_answer_is_one_warning(loop):
    loop.bus.servos.injected_status = [1] * 6
    status = loop.tick(TARGET, 60)
    assert status.state is SafetyState.TRACKING
    np.testing.assert_allclose(loop.goals(), TARGET, atol=0.002)
    assert status.warning.startswith("supply voltage out of range at the servo of shoulder_pan, ")
    assert [text for severity, text in loop.events if severity == "warning"] == [
        f"{status.warning}; work goes on: check the supply, and that it is the one for these "
        "servos (7.4 V or 12 V)"
    ]
    # A bit that comes and goes is no news.
    loop.bus.servos.injected_status = [0] * 6
    assert loop.tick(TARGET, 2).warning == ""
    loop.bus.servos.injected_status = [0, 1, 0, 0, 0, 0]
    assert loop.tick(TARGET, 2).warning.endswith("of shoulder_lift")
    assert [severity for severity, _ in loop.events].count("warning") == 1


def test_damaged_packets_are_counted_also_over_a_reconnection(loop):
    loop.tick()
    loop.bus.corrupt(1)
    assert loop.tick(TARGET, 5).bus_retries == 1
    # Nothing is on its way to the servos any more: the next request is one that is answered.
    loop.goals()
    loop.bus.corrupt_requests(1)
    status = loop.tick(TARGET, 5)
    assert (status.bus_retries, status.bus_errors, status.fault) == (2, 0, "")
    loop.loop.close()
    assert loop.tick(TARGET, 2).bus_retries == 2


def test_a_gripper_that_falls_silent_in_overload_is_named_and_the_others_hold(loop):
    loop.tick(TARGET, 60)
    held = loop.goals()
    loop.bus.servos.injected_status[5] = 1 << 5
    loop.tick(TARGET, 2)
    loop.bus.servos.silent.add(5)
    status = loop.tick(SO101.home_rad, 4)
    assert "servo 6 (gripper)" in status.fault and "power off and on" in status.fault
    assert status.state is SafetyState.HOLD
    assert loop.plant.torque().all()
    np.testing.assert_allclose(loop.goals()[:5], held[:5], atol=0.05)
    rest = loop.goals()
    for _ in range(2):
        loop.steady_s += 3.0
        loop.tick(SO101.home_rad)
    np.testing.assert_array_equal(loop.goals(), rest)
    assert [severity for severity, _ in loop.events].count("error") == 1
    # Its power was switched off and on: limp, and without the overload.
    loop.bus.servos.injected_status[5] = 0
    loop.bus.drop(5)
    loop.bus.restore(5)
    loop.steady_s += 3.0
    assert loop.tick(TARGET, 60).state is SafetyState.TRACKING
    assert loop.plant.torque().all()


def test_a_roll_that_leaves_its_turn_holds_the_arm_until_it_is_turned_back(loop):
    roll = SO101.joint_names.index("wrist_roll")
    loop.tick(TARGET, 60)
    for angle in (1.5, 2.5, 3.1, 3.2):
        loop.plant._positions[roll] = angle
        status = loop.tick(TARGET)
    assert status.state is SafetyState.HOLD
    assert "servo 5 (wrist_roll) turned past the end of the count" in status.reason
    assert loop.tick(TARGET, 20).state is SafetyState.HOLD
    assert abs(loop.plant.positions_rad()[roll]) > 3.0
    loop.loop.set_torque(False, timeout_s=0.0)
    loop.tick()
    for angle in (3.1, 2.0, 1.0):
        pose = loop.plant.positions_rad()
        pose[roll] = angle
        loop.plant.move_to(pose)
        loop.tick()
    loop.loop.set_torque(True, timeout_s=0.0)
    loop.tick()
    np.testing.assert_allclose(loop.goals(), pose, atol=0.003)
    assert loop.tick(TARGET, 100).state is SafetyState.TRACKING


def test_an_arm_moved_by_hand_stays_where_it_was_put(loop):
    loop.tick(TARGET, 60)
    loop.loop.set_torque(False, timeout_s=0.0)
    loop.tick(TARGET, 5)
    pose = SO101.home_rad + np.array([0.8, 0.5, -0.6, -0.4, 0.9, 0.3])
    loop.plant.move_to(pose)
    loop.tick(TARGET, 5)
    loop.loop.set_torque(True, timeout_s=0.0)
    status = loop.tick()
    assert status.state is not SafetyState.TRACKING
    np.testing.assert_allclose(loop.goals(), pose, atol=0.003)
    # From there it goes on slowly, not in a jump to where it was.
    loop.tick(TARGET)
    assert np.abs(loop.goals() - pose).max() <= 0.05


def test_a_latched_overload_holds_until_the_torque_was_off(loop):
    loop.tick(TARGET, 60)
    loop.bus.servos.latched_status[2] = 1 << 5
    assert loop.tick(TARGET, 60).state is SafetyState.HOLD
    for enabled in (False, True):
        loop.loop.set_torque(enabled, timeout_s=0.0)
        loop.tick()
    assert loop.tick(TARGET, 60).state is SafetyState.TRACKING


def test_swapped_ids_drive_nothing(loop):
    loop.bus.servos.swap_ids(2, 3)
    status = loop.tick(TARGET, 3)
    assert "their ids are swapped" in status.fault
    assert not loop.plant.torque().any()
