"""What real servos, cables and adapters do wrong, on the emulated bus."""

import numpy as np
import pytest

from multismolvla.embodiment.so101 import SO101
from multismolvla.robot import registers
from multismolvla.robot.calibration import RAD_PER_TICK
from multismolvla.robot.calibration_session import CalibrationSession
from multismolvla.robot.errors import CorruptPacket, RegisterMismatch, ServoTimeout
from multismolvla.robot.protocol import OUT_OF_VOLTAGE, OVERLOAD
from multismolvla.robot.registers import GOAL_POSITION, PRESENT_POSITION, TORQUE_ENABLE
from multismolvla.robot.servos import simulated_calibration
from multismolvla.robot.so101 import SO101Arm

ROLL, GRIPPER = SO101.joint_names.index("wrist_roll"), SO101.joint_names.index("gripper")
IDS = range(1, 7)


@pytest.fixture
def arm(bus):
    arm = SO101Arm(bus, simulated_calibration())
    arm.prepare()
    return arm


def with_roll(angle_rad):
    pose = SO101.home_rad.copy()
    pose[ROLL] = angle_rad
    return pose


@pytest.mark.parametrize("damage", ["corrupt", "corrupt_requests", "halve"])
def test_a_damaged_packet_of_a_write_is_sent_again(bus, emulated, plant, damage):
    getattr(emulated, damage)(1)
    bus.write(5, TORQUE_ENABLE, 1)
    assert plant.torque()[ROLL] and plant.torque().sum() == 1
    assert bus.retried == 1


def test_a_damaged_request_to_all_servos_is_sent_again(arm, bus, emulated):
    emulated.corrupt_requests(1)
    np.testing.assert_allclose(arm.read().positions_rad, SO101.home_rad, atol=RAD_PER_TICK)
    assert bus.retried == arm.retried == 1


def test_answers_that_come_twice_count_once(bus, emulated):
    emulated.repeat(100)
    assert set(bus.sync_read(IDS, PRESENT_POSITION.address, PRESENT_POSITION.size)) == set(IDS)
    bus.write(3, registers.ACCELERATION, 7)
    assert bus.read(3, registers.ACCELERATION) == 7
    assert bus.read(3, registers.MODEL) == registers.MODEL_NUMBER
    assert bus.retried == 0


def test_an_adapter_that_echoes_is_no_servo(bus, emulated):
    """Ping, and questions for two bytes, have the shape of their answers."""
    emulated.echo = True
    assert bus.scan(range(9)) == list(IDS)
    for register in (registers.MODEL, registers.LOCK, PRESENT_POSITION):
        joint_s = emulated.servos.register(2, register)
        assert bus.read(3, register) == joint_s
    bus.write(3, registers.ACCELERATION, 7)
    assert bus.read(3, registers.ACCELERATION) == 7
    bus.sync_write(GOAL_POSITION, dict.fromkeys(IDS, 2100))
    assert bus.read(4, GOAL_POSITION) == 2100
    assert bus.retried == 0
    emulated.drop(2)
    with pytest.raises(ServoTimeout, match="no answer from servo 3"):
        bus.read(3, PRESENT_POSITION)


def test_positions_may_be_negative(arm, plant, emulated):
    emulated.servos.signed_positions = True
    below = simulated_calibration().to_radians(np.full(6, -100))[ROLL]
    plant.move_to(with_roll(below))
    assert emulated.servos.register(ROLL, PRESENT_POSITION) == -100
    assert arm.read().positions_rad[ROLL] == pytest.approx(below, abs=RAD_PER_TICK)
    assert arm.serious_fault() == ""


def test_velocity_load_and_current_have_a_sign():
    assert registers.PRESENT_VELOCITY.decode((0x8000 | 300).to_bytes(2, "little")) == -300
    assert registers.PRESENT_LOAD.decode((0x400 | 300).to_bytes(2, "little")) == -300
    assert registers.PRESENT_CURRENT.decode((0x8000 | 30).to_bytes(2, "little")) == -30


def roll_past_the_end(arm, plant, clock):
    """Hold at 4090 ticks, then be pushed to 5 of the next turn."""
    before, after = (
        simulated_calibration().to_radians(np.full(6, ticks))[ROLL] for ticks in (4090, 4101)
    )
    plant.move_to(with_roll(before))
    arm.set_torque(True)
    arm.read()
    plant._positions[ROLL] = after
    return after


def test_a_count_that_begins_again_is_no_jump_and_a_fault(arm, plant, emulated, clock):
    after = roll_past_the_end(arm, plant, clock)
    assert arm.read().positions_rad[ROLL] == pytest.approx(after, abs=RAD_PER_TICK)
    assert emulated.servos.register(ROLL, PRESENT_POSITION) == 5
    assert "servo 5 (wrist_roll) turned past the end of the count" in arm.serious_fault()


def test_a_servo_whose_count_began_again_does_not_run_all_the_way_round(arm, plant, clock):
    after = roll_past_the_end(arm, plant, clock)
    for _ in range(10):
        arm.read()
        clock.now_s += 0.1
    assert plant.positions_rad()[ROLL] == pytest.approx(after, abs=2 * RAD_PER_TICK)


def test_a_joint_that_is_turned_back_by_hand_is_right_again(arm, plant, clock):
    roll_past_the_end(arm, plant, clock)
    arm.read()
    arm.set_torque(False)
    plant.move_to(with_roll(0.3))
    # By hand it takes more than one reading.
    for angle in (3.1, 2.0, 1.0, 0.3):
        plant.move_to(with_roll(angle))
        state = arm.read()
    assert state.positions_rad[ROLL] == pytest.approx(0.3, abs=RAD_PER_TICK)
    assert arm.serious_fault() == ""
    arm.set_torque(True)
    assert plant.goals_rad()[ROLL] == pytest.approx(0.3, abs=RAD_PER_TICK)


def test_the_supply_s_bit_in_every_answer_stops_nothing(bus, emulated):
    emulated.servos.injected_status = [OUT_OF_VOLTAGE] * 6
    session = CalibrationSession(bus)
    session.begin()
    session.set_middle()
    arm = SO101Arm(bus, simulated_calibration())
    bus.set_id(6, 9)
    bus.set_id(9, 6)
    arm.restore_calibration()
    arm.prepare()
    arm.set_torque(True)
    arm.check_torque()
    assert bus.read(2, registers.MODEL) == registers.MODEL_NUMBER
    assert arm.serious_fault() == ""
    assert arm.supply_warning() == tuple(range(6))


def test_a_voltage_that_sags_is_told_while_it_lasts(arm, plant):
    plant.voltages[:] = 3.9
    arm.read()
    assert arm.supply_warning() == tuple(range(6))
    plant.voltages[:] = 7.4
    arm.read()
    assert arm.supply_warning() == ()


def test_a_servo_that_falls_silent_in_overload_needs_its_power_switched(arm, emulated):
    emulated.servos.injected_status[GRIPPER] = OVERLOAD
    arm.read()
    emulated.servos.silent.add(GRIPPER)
    for ask in (arm.read, lambda: arm.read_diagnostics(GRIPPER)):
        with pytest.raises(ServoTimeout) as error:
            ask()
        assert "no answer from servo 6 (gripper)" in str(error.value)
        assert "last reported overload" in str(error.value)
        assert str(error.value).endswith("switch its power off and on")


def test_an_overload_that_is_latched_ends_with_the_torque(arm, emulated):
    arm.set_torque(True)
    emulated.servos.latched_status[2] = OVERLOAD
    arm.read()
    assert "servo 3 (elbow_flex) reports overload" in arm.serious_fault()
    arm.read()
    assert arm.serious_fault()
    arm.set_torque(False)
    arm.set_torque(True)
    arm.read()
    assert arm.serious_fault() == ""


def test_swapped_ids_are_named(bus, emulated, plant):
    emulated.servos.swap_ids(2, 3)
    arm = SO101Arm(bus, simulated_calibration())
    swapped = r"servo 3 \(elbow_flex\): .* calibration of wrist_flex, servo 4: .* swapped"
    with pytest.raises(RegisterMismatch, match=swapped):
        arm.prepare()
    assert not plant.torque().any()


def test_answers_that_collide_point_to_two_servos_with_one_id(bus, emulated):
    emulated.corrupt(10**6)
    with pytest.raises(CorruptPacket, match="no two servos share an id"):
        bus.read(3, registers.MODEL)
