"""The bus against emulated servos: requests, answers, and what goes wrong on a wire."""

import os
import subprocess
import sys
import time

import pytest

from multismolvla.robot import emulator, protocol, registers
from multismolvla.robot.bus import FeetechBus
from multismolvla.robot.emulator import EmulatedBus
from multismolvla.robot.errors import (
    BusLost,
    CorruptPacket,
    PortBusy,
    PortUnavailable,
    ServoStatusError,
    ServoTimeout,
)
from multismolvla.robot.registers import GOAL_POSITION, PRESENT_POSITION

IDS = range(1, 7)


def read_positions(bus):
    return bus.sync_read(IDS, PRESENT_POSITION.address, PRESENT_POSITION.size)


def test_scan_finds_the_servos(bus):
    assert bus.scan(range(9)) == list(IDS)


def test_read_and_write(bus):
    assert bus.read(4, registers.MODEL) == registers.MODEL_NUMBER
    bus.write(4, registers.ACCELERATION, 254)
    assert bus.read(4, registers.ACCELERATION) == 254


def test_sync_write_reaches_every_servo(bus):
    bus.sync_write(GOAL_POSITION, {servo: 2100 + servo for servo in IDS})
    assert [bus.read(servo, GOAL_POSITION) for servo in IDS] == [2100 + servo for servo in IDS]


def test_eeprom_is_kept_only_if_unlocked(bus, emulated):
    bus.write(2, registers.P_COEFFICIENT, 7)
    emulated.servos.power_cycle(1)
    assert bus.read(2, registers.P_COEFFICIENT) == 32
    bus.write(2, registers.LOCK, 0)
    bus.write(2, registers.P_COEFFICIENT, 7)
    emulated.servos.power_cycle(1)
    assert bus.read(2, registers.P_COEFFICIENT) == 7


def test_a_servo_gets_another_id(bus):
    bus.set_id(6, 9)
    assert bus.scan(range(12)) == [1, 2, 3, 4, 5, 9]


def test_goals_are_clamped_to_the_servo_s_limits(bus):
    bus.write(1, GOAL_POSITION, 4000)
    assert bus.read(1, GOAL_POSITION) == bus.read(1, registers.MAX_POSITION)


def test_the_homing_offset_moves_what_the_servo_reports(bus):
    before = bus.read(1, PRESENT_POSITION)
    offset = bus.read(1, registers.HOMING_OFFSET)
    bus.write(1, registers.HOMING_OFFSET, offset + 10)
    assert bus.read(1, PRESENT_POSITION) == before - 10


def test_a_silent_servo_is_named(bus, emulated):
    bus.names = {3: "elbow_flex"}
    emulated.drop(2)
    with pytest.raises(ServoTimeout, match=r"servo 3 \(elbow_flex\)") as error:
        read_positions(bus)
    assert error.value.servos == (3,)
    with pytest.raises(ServoTimeout):
        bus.read(3, registers.TORQUE_LIMIT)
    emulated.restore(2)
    assert set(read_positions(bus)) == set(IDS)


@pytest.mark.parametrize("damage", ["corrupt", "halve"])
def test_damaged_answers_are_asked_for_again(bus, emulated, damage):
    getattr(emulated, damage)(3)
    assert set(read_positions(bus)) == set(IDS)
    assert bus.retried == 1


@pytest.mark.parametrize("damage", ["corrupt", "halve"])
def test_answers_that_stay_damaged_are_an_error_and_leave_nothing_behind(bus, emulated, damage):
    getattr(emulated, damage)(100)
    with pytest.raises(CorruptPacket, match="damaged answers from servo 1"):
        bus.read(1, registers.TORQUE_LIMIT)
    getattr(emulated, damage)(0)
    assert set(read_positions(bus)) == set(IDS)


def test_an_answer_that_has_come_counts_however_late_one_looks(bus):
    bus._send(protocol.Packet(3, protocol.Instruction.PING))
    while bus._serial.in_waiting < 6:
        pass
    answers = {}
    assert bus._receive([3], 0, answers, timeout_s=-1.0) == 0
    assert list(answers) == [3]


def test_a_servo_s_own_fault_is_reported_in_words(bus, emulated, plant):
    emulated.servos.injected_status[2] = 1 << 5
    plant.temperatures[2] = 80.0
    with pytest.raises(ServoStatusError, match="servo 3 reports: overheated, overload") as error:
        bus.read(3, registers.MODEL)
    assert registers.MODEL.decode(error.value.data) == registers.MODEL_NUMBER
    # In a sync read the data counts; the fault is kept aside.
    read_positions(bus)
    assert bus.status_bits[3] == 1 << 5 | 1 << 2


def test_an_unplugged_bus_is_lost_and_comes_back_at_the_same_path(bus, emulated):
    emulated.unplug()
    with pytest.raises(BusLost, match="is gone"):
        read_positions(bus)
    with pytest.raises(PortUnavailable, match="does not exist"):
        FeetechBus(emulated.port)
    emulated.plug_in()
    with FeetechBus(emulated.port) as again:
        assert set(read_positions(again)) == set(IDS)


def test_the_port_has_one_user_who_is_named(bus, emulated):
    with pytest.raises(PortBusy, match=rf"is used by process {os.getpid()} \("):
        FeetechBus(emulated.port)
    bus.close()
    FeetechBus(emulated.port).close()


def test_a_killed_user_leaves_the_port_free(emulated):
    program = (
        "import sys, time; from multismolvla.robot.bus import FeetechBus;"
        f"bus = FeetechBus({emulated.port!r}); print('open', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "open\n"
    with pytest.raises(PortBusy, match=f"process {process.pid}"):
        FeetechBus(emulated.port)
    process.kill()
    process.communicate()
    FeetechBus(emulated.port).close()


def test_what_is_no_serial_port_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(PortUnavailable, match="cannot open serial port"):
        FeetechBus(str(tmp_path / "file"))


def test_the_wire_takes_its_time(plant, monkeypatch):
    # A slow wire, so that no request takes as long without one.
    monkeypatch.setattr(emulator, "WIRE_S_PER_BYTE", 1e-3)
    with (
        EmulatedBus(plant, wire_time=True) as emulated,
        FeetechBus(emulated.port, timeout_s=1.0) as bus,
    ):
        started = time.monotonic()
        read_positions(bus)
        # 14 bytes there, 6 times 8 back.
        assert time.monotonic() - started >= 0.062


def test_closing_removes_the_link(plant, tmp_path):
    link = tmp_path / "arm"
    with EmulatedBus(plant, link=link):
        assert link.is_symlink()
    assert not link.is_symlink()


def test_a_new_emulator_takes_the_link_over_from_a_dead_one(plant, tmp_path):
    link = tmp_path / "arm"
    link.symlink_to("/dev/pts/999999")
    with EmulatedBus(plant, link=link) as emulated, FeetechBus(emulated.port) as bus:
        assert bus.scan([1]) == [1]


def test_other_ids(plant):
    with EmulatedBus(plant, ids=range(11, 17)) as emulated, FeetechBus(emulated.port) as bus:
        assert bus.scan(range(20)) == list(range(11, 17))


def test_what_no_servo_can_do_leaves_the_emulated_bus_alive(bus, plant):
    # One packet holds at most 253 parameters.
    bus._send(protocol.read_request(1, 0, 255))
    bus._send(protocol.sync_read_request([1], 0, 255))
    bus._send(protocol.write_request(1, registers.TORQUE_LIMIT.address, b"\xff\xff"))
    bus.read(1, registers.TORQUE_LIMIT)
    assert plant.torque_limits[0] == 1.0
