"""SO101Arm on emulated servos: radians in and out, configuration, torque."""

import numpy as np
import pytest

from multismolvla.embodiment.so101 import SO101
from multismolvla.robot import registers
from multismolvla.robot.calibration import RAD_PER_TICK, Calibration, MotorCalibration
from multismolvla.robot.errors import RegisterMismatch
from multismolvla.robot.servos import simulated_calibration
from multismolvla.robot.so101 import SO101Arm

GRIPPER = 5
POSE = np.array([0.5, -0.4, 0.3, -0.2, 0.1, 0.6])


@pytest.fixture
def arm(bus):
    arm = SO101Arm(bus, simulated_calibration())
    arm.prepare()
    return arm


def test_goals_and_positions_are_the_plant_s_own_radians(arm, plant, clock):
    arm.set_torque(True)
    arm.write_goals_rad(POSE)
    arm.read()
    np.testing.assert_allclose(plant.goals_rad(), POSE, atol=RAD_PER_TICK)
    for _ in range(10):
        clock.now_s += 0.3
        state = arm.read()
    np.testing.assert_allclose(state.positions_rad, POSE, atol=1.5 * RAD_PER_TICK)


def test_velocity_and_load_have_the_joint_s_sign(arm, clock):
    arm.set_torque(True)
    arm.write_goals_rad(POSE)
    arm.read()
    clock.now_s += 0.01
    state = arm.read()
    direction = np.sign(POSE - SO101.home_rad)
    assert (state.velocities_rad_s * direction > 1.0).all()
    assert (state.loads * direction > 0.2).all()


def test_a_servo_mounted_the_other_way_round(plant):
    from multismolvla.robot.bus import FeetechBus
    from multismolvla.robot.emulator import EmulatedBus

    motors = dict(simulated_calibration().motors)
    motors["elbow_flex"] = MotorCalibration(3, 1, 55, 900, 3190)
    mounting = Calibration(motors)
    with (
        EmulatedBus(plant, calibration=mounting) as emulated,
        FeetechBus(emulated.port, timeout_s=2.0) as bus,
    ):
        arm = SO101Arm(bus, mounting)
        arm.prepare()
        arm.write_goals_rad(POSE)
        arm.read()
    np.testing.assert_allclose(plant.goals_rad(), POSE, atol=RAD_PER_TICK)


def test_goals_stay_within_the_calibrated_travel(arm, plant):
    arm.write_goals_rad(np.full(6, 9.0))
    arm.read()
    within = plant.goals_rad() <= np.maximum(SO101.upper_rad, np.pi) + 2 * RAD_PER_TICK
    assert within.all()
    assert (plant.goals_rad()[:4] <= SO101.upper_rad[:4] + 2 * RAD_PER_TICK).all()
    assert (plant.goals_rad() >= SO101.lower_rad).all()


def test_prepare_configures_the_servos_and_spares_their_eeprom(arm, bus, emulated):
    servos = emulated.servos
    for joint in range(6):
        assert servos.register(joint, registers.RETURN_DELAY) == 0
        assert servos.register(joint, registers.P_COEFFICIENT) == 16
        assert servos.register(joint, registers.PHASE) & 0x10 == 0
        assert servos.register(joint, registers.LOCK) == 1
        assert servos.register(joint, registers.MAX_TORQUE) == (500 if joint == GRIPPER else 1000)
    assert servos.register(GRIPPER, registers.PROTECTION_CURRENT) == 250
    assert servos.register(GRIPPER, registers.OVERLOAD_TORQUE) == 25
    written = []
    bus.write = lambda *arguments: written.append(arguments)
    arm.prepare()
    assert not written


def test_torque_on_holds_where_the_arm_is(arm, plant):
    plant._goals = POSE.copy()
    assert not arm.torque().any()
    arm.set_torque(True)
    np.testing.assert_allclose(plant.goals_rad(), SO101.home_rad, atol=RAD_PER_TICK)
    assert plant.torque().all()
    assert arm.torque().all()
    arm.set_torque(False)
    assert not plant.torque().any()


def test_torque_on_does_not_trust_a_write_that_nobody_acknowledges(arm, bus, plant):
    plant._goals = POSE.copy()
    bus.sync_write = lambda *_: None
    arm.set_torque(True)
    np.testing.assert_allclose(plant.goals_rad(), SO101.home_rad, atol=RAD_PER_TICK)


def test_torque_on_leaves_the_goals_of_an_arm_that_holds(arm, plant, clock):
    arm.set_torque(True)
    arm.write_goals_rad(POSE)
    arm.set_torque(True)
    np.testing.assert_allclose(plant.goals_rad(), POSE, atol=RAD_PER_TICK)


def test_the_held_pose_is_the_goal_unless_the_joint_is_far_from_it(arm, plant):
    arm.set_torque(True)
    goal = SO101.home_rad + np.array([0.05, 1.0, 0.05, 0.05, 0.05, -0.4])
    arm.write_goals_rad(goal)
    held = arm.held_pose_rad(arm.read())
    expected = goal.copy()
    expected[1] = SO101.home_rad[1]
    np.testing.assert_allclose(held, expected, atol=2 * RAD_PER_TICK)


@pytest.mark.parametrize(
    ("register", "value"), [(registers.HOMING_OFFSET, 7), (registers.MAX_POSITION, 4000)]
)
def test_servos_of_another_calibration_are_refused_and_can_be_restored(bus, register, value):
    arm = SO101Arm(bus, simulated_calibration())
    bus.write(3, register, value)
    with pytest.raises(RegisterMismatch, match=rf"elbow_flex\): {register.name} is {value}"):
        arm.prepare()
    arm.restore_calibration()
    arm.prepare()


def test_diagnostics_also_of_a_servo_in_trouble(arm, plant, emulated):
    plant.temperatures[2] = 75.0
    plant.voltages[2] = 11.4
    emulated.servos.injected_status[2] = 1 << 5
    read = arm.read_diagnostics(2)
    assert (read.temperature_c, read.voltage_v) == (75.0, pytest.approx(11.4))
    assert read.status_bits == 1 << 5 | 1 << 2
    assert arm.read_diagnostics(1).status_bits == 0
