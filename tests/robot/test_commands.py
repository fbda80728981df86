"""The command line: what it prints, what it refuses, how it ends."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from patience import HANG_S

from multismolvla.embodiment.so101 import SO101
from multismolvla.robot import registers
from multismolvla.robot.__main__ import main
from multismolvla.robot.bus import FeetechBus
from multismolvla.robot.calibration import CalibrationError, load_calibration
from multismolvla.robot.calibration_session import CalibrationSession
from multismolvla.robot.emulator import EmulatedBus
from multismolvla.robot.first_order_plant import FirstOrderPlant
from multismolvla.robot.servos import simulated_calibration
from multismolvla.robot.so101 import SO101Arm


@pytest.fixture
def calibration(tmp_path):
    simulated_calibration().save(tmp_path / "arm.json")
    return str(tmp_path / "arm.json")


def test_scan_lists_the_servos(emulated, capsys):
    assert main(["scan", "--port", emulated.port]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert lines[2].startswith("servo 3 (elbow_flex): STS3215, position ")
    assert lines[2].endswith("12.0 V")


def test_set_id_refuses_an_id_that_is_taken_or_absent(emulated, capsys):
    assert main(["set-id", "--port", emulated.port, "1", "2"]) == 1
    assert "another servo has id 2" in capsys.readouterr().err
    assert main(["set-id", "--port", emulated.port, "9", "10"]) == 1
    assert "no servo 9" in capsys.readouterr().err
    assert main(["set-id", "--port", emulated.port, "1", "9"]) == 0
    assert main(["set-id", "--port", emulated.port, "9", "1"]) == 0


def test_set_id_overlooks_no_servo_that_answers_late(emulated, capsys, monkeypatch):
    monkeypatch.setattr(emulated, "_wire_time", True)
    monkeypatch.setattr("multismolvla.robot.emulator.WIRE_S_PER_BYTE", 2e-3)
    assert main(["set-id", "--port", emulated.port, "1", "2"]) == 1
    assert "another servo has id 2" in capsys.readouterr().err


def test_move_goes_there_slowly_and_leaves_the_arm_holding(tmp_path, calibration, capsys):
    plant = FirstOrderPlant()
    with EmulatedBus(plant, link=tmp_path / "so101") as emulated:
        arguments = ["move", "--port", emulated.port, "--calibration", calibration]
        assert main([*arguments, "--speed", "3", "gripper=0.8", "wrist_roll=0.2"]) == 0
        goals = plant.goals_rad()
    np.testing.assert_allclose(goals[[4, 5]], [0.2, 0.8], atol=0.002)
    assert plant.torque().all()
    assert "gripper is at" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("target", "message"),
    [("tail=1", "names no joint"), ("gripper=9", "expected -0.17 to 1.75"), ("gripper=x", "'x'")],
)
def test_move_refuses_what_the_arm_cannot_do(capsys, target, message):
    with pytest.raises(SystemExit) as ended:
        main(["move", target])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_errors_are_one_line(tmp_path, capsys):
    assert main(["scan", "--port", str(tmp_path / "none")]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "does not exist" in error


def test_restore_writes_the_file_into_the_servos(emulated, bus, calibration):
    bus.write(3, registers.HOMING_OFFSET, 7)
    bus.close()
    assert main(["restore", "--port", emulated.port, "--calibration", calibration]) == 0
    assert emulated.servos.register(2, registers.HOMING_OFFSET) == -987


def test_restore_needs_someone_to_hold_the_arm(emulated, calibration, capsys, monkeypatch):
    emulated.servos.hold()
    monkeypatch.setattr("sys.stdin", open(os.devnull))  # noqa: SIM115
    assert main(["restore", "--port", emulated.port, "--calibration", calibration]) == 1
    assert "run it in a terminal" in capsys.readouterr().err
    assert emulated.servos.register(0, registers.TORQUE_ENABLE) == 1


def test_a_calibration_makes_servos_report_positions_within_one_turn(emulated, bus):
    bus.write(4, registers.PHASE, 12 | registers.PHASE_MULTI_TURN)
    bus.write(4, registers.OPERATING_MODE, 1)
    CalibrationSession(bus).begin()
    emulated.servos.power_cycle(3)
    assert emulated.servos.register(3, registers.PHASE) == 12
    assert emulated.servos.register(3, registers.OPERATING_MODE) == 0


def test_a_calibration_by_hand_finds_the_arm_s_travel(tmp_path, emulated, plant):
    """The sweep is done by moving the limp plant; the result drives it in the same radians."""
    with FeetechBus(emulated.port, timeout_s=2.0) as bus:
        session = CalibrationSession(bus)
        session.begin()
        assert not plant.torque().any()
        middle = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.78])
        reach = np.array([1.9, 1.7, 1.6, 1.6, 0.0, 0.95])
        plant.move_to(middle)
        session.set_middle()
        for pose in (middle - reach, middle + reach):
            plant.move_to(pose)
            session.sample()
        session.finish().save(tmp_path / "arm.json")
        arm = SO101Arm(bus, load_calibration(tmp_path / "arm.json"))
        arm.prepare()
        plant.move_to(middle)
        # The jaw was swept from -0.17: closed is the lower limit.
        np.testing.assert_allclose(arm.read().positions_rad, middle, atol=0.01)


def test_a_forgotten_joint_is_named(emulated, plant):
    with FeetechBus(emulated.port, timeout_s=2.0) as bus:
        session = CalibrationSession(bus)
        session.begin()
        session.set_middle()
        session.sample()
        with pytest.raises(CalibrationError, match="shoulder_pan goes from 2047 to 2047, 0 ticks"):
            session.finish()


def test_calibrate_without_a_terminal_says_so(emulated, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", open(os.devnull))  # noqa: SIM115
    assert main(["calibrate", "--port", emulated.port]) == 1
    assert "run it in a terminal" in capsys.readouterr().err


def test_monitor_shows_every_joint_and_ends_on_ctrl_c(tmp_path, calibration):
    """Two processes: an emulated arm and a monitor on it."""
    port = str(tmp_path / "so101")
    so101 = [sys.executable, "-m", "multismolvla.robot"]
    emulator = subprocess.Popen(
        [*so101, "emulate", "--port", port], stdout=subprocess.PIPE, text=True
    )
    try:
        assert "an emulated SO-101" in emulator.stdout.readline()
        monitor = subprocess.Popen(
            [*so101, "monitor", "--port", port, "--calibration", calibration],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "FORCE_COLOR": "1", "COLUMNS": "120"},
        )
        shown = ""
        while "gripper" not in shown:
            line = monitor.stdout.readline()
            assert line, monitor.stderr.read()
            shown += line
        monitor.send_signal(signal.SIGINT)
        _, error = monitor.communicate(timeout=HANG_S)
        assert monitor.returncode == 130
        assert "servos that were holding keep holding" in error
        assert "Traceback" not in error
        for name in SO101.joint_names:
            assert name in shown
    finally:
        emulator.terminate()
        emulator.communicate(timeout=HANG_S)
    assert not os.path.islink(port)


def test_help_lists_the_commands(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    for command in ("scan", "set-id", "calibrate", "restore", "move", "monitor", "emulate"):
        assert command in text
