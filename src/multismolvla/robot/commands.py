"""What the commands of `so101` do."""

from __future__ import annotations

import argparse
import signal
import time

import numpy as np
from rich.live import Live
from rich.table import Table

from multismolvla.embodiment.so101 import SO101
from multismolvla.robot import registers
from multismolvla.robot.bus import FeetechBus
from multismolvla.robot.calibration import load_calibration
from multismolvla.robot.emulator import EmulatedBus
from multismolvla.robot.errors import BusError, ServoStatusError
from multismolvla.robot.first_order_plant import FirstOrderPlant
from multismolvla.robot.protocol import MAX_ID, describe_status
from multismolvla.robot.so101 import ArmState, ServoDiagnostics, SO101Arm

# Ids that anyone gives to an arm's servos.
USUAL_IDS = range(21)

MOVE_RATE_HZ = 50.0
MONITOR_RATE_HZ = 10.0
# A person at the keyboard would rather wait than take a busy machine for a silent servo.
PATIENCE_S = 0.2


def scan(options: argparse.Namespace) -> int:
    """List the servos that answer, with what they are."""
    with FeetechBus(options.port, timeout_s=PATIENCE_S) as bus:
        found = bus.scan(range(MAX_ID + 1) if options.all else USUAL_IDS)
        if not found:
            raise BusError(
                f"no servo answers on {options.port}; check the arm's power supply and the cable "
                "to the first servo"
            )
        for servo in found:
            model = _read(bus, servo, registers.MODEL)
            kind = "STS3215" if model == registers.MODEL_NUMBER else f"model {model}"
            joint = SO101.joint_names[servo - 1] if 1 <= servo <= len(SO101) else "no joint's id"
            position = _read(bus, servo, registers.PRESENT_POSITION)
            volts = _read(bus, servo, registers.PRESENT_VOLTAGE) * registers.VOLT_PER_UNIT
            faults = describe_status(bus.status_bits[servo])
            print(
                f"servo {servo} ({joint}): {kind}, position {position}, {volts:.1f} V"
                + (f", reports {faults}" if faults else "")
            )
    return 0


def set_id(options: argparse.Namespace) -> int:
    """Give a servo another id, unless another servo has it."""
    with FeetechBus(options.port, timeout_s=PATIENCE_S) as bus:
        # A servo that is overlooked here would end up sharing its id with another.
        present = bus.scan([options.old, options.new], PATIENCE_S)
        if options.old not in present:
            raise BusError(
                f"no servo {options.old} on {options.port}; `so101 scan` lists those that answer"
            )
        if options.new in present and options.new != options.old:
            raise BusError(
                f"another servo has id {options.new} already; two with one id disturb each other"
            )
        bus.set_id(options.old, options.new)
    print(f"servo {options.old} is now {options.new}")
    return 0


def restore(options: argparse.Namespace) -> int:
    """Write a calibration file into the servos; the arm goes limp first."""
    calibration = load_calibration(options.calibration)
    with FeetechBus(options.port, timeout_s=PATIENCE_S) as bus:
        arm = SO101Arm(bus, calibration)
        if arm.torque().any():
            input("The arm will go limp: support it, then press Enter. ")
        arm.set_torque(False)
        arm.restore_calibration()
    print(f"wrote {options.calibration} into the servos")
    return 0


def move(options: argparse.Namespace) -> int:
    """Move joints at a bounded speed, all arriving together, and leave the arm holding."""
    calibration = load_calibration(options.calibration)
    with FeetechBus(options.port, timeout_s=PATIENCE_S) as bus:
        arm = SO101Arm(bus, calibration)
        arm.prepare()
        arm.set_torque(True)
        arm.read()
        if fault := arm.serious_fault():
            raise BusError(fault)
        start = arm.held_pose_rad(arm.read())
        target = start.copy()
        for joint, angle in options.targets:
            target[joint] = angle
        steps = int(np.ceil(np.abs(target - start).max() / options.speed * MOVE_RATE_HZ))
        due = time.monotonic()
        for step in range(1, steps + 1):
            # Starts and ends at rest.
            share = 0.5 - 0.5 * np.cos(np.pi * step / steps)
            arm.write_goals_rad(start + share * (target - start))
            due += 1.0 / MOVE_RATE_HZ
            time.sleep(max(0.0, due - time.monotonic()))
        reached = arm.read().positions_rad
    for joint, _ in options.targets:
        print(
            f"{SO101.joint_names[joint]} is at {reached[joint]:.3f} rad, goal {target[joint]:.3f}"
        )
    return 0


def monitor(options: argparse.Namespace) -> int:
    """Show all servos until Ctrl-C; changes nothing."""
    calibration = load_calibration(options.calibration)
    with FeetechBus(options.port, timeout_s=PATIENCE_S) as bus:
        arm = SO101Arm(bus, calibration)
        torque = arm.torque()
        diagnostics = [arm.read_diagnostics(joint) for joint in range(len(SO101))]
        table = _table(arm.read(), torque, diagnostics)
        with Live(table, auto_refresh=False, redirect_stderr=False) as live:
            for count in _forever():
                joint = count % len(SO101)
                diagnostics[joint] = arm.read_diagnostics(joint)
                if joint == 0:
                    torque = arm.torque()
                live.update(_table(arm.read(), torque, diagnostics), refresh=True)
                time.sleep(1.0 / MONITOR_RATE_HZ)
    return 0


def emulate(options: argparse.Namespace) -> int:
    """Offer an emulated arm until Ctrl-C or SIGTERM."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with EmulatedBus(FirstOrderPlant(), link=options.port, wire_time=True) as bus:
        print(f"an emulated SO-101 on {bus.port}; Ctrl-C ends it", flush=True)
        signal.pause()
    return 0


def _forever():
    count = 0
    while True:
        yield count
        count += 1


def _read(bus: FeetechBus, servo: int, register: registers.Register) -> int:
    try:
        return bus.read(servo, register)
    except ServoStatusError as error:
        return register.decode(error.data)


def _table(state: ArmState, torque: np.ndarray, diagnostics: list[ServoDiagnostics]) -> Table:
    table = Table()
    for column in ("joint", "rad", "rad/s", "load %", "V", "deg C", "A", "torque", "faults"):
        table.add_column(column, justify="left" if column in ("joint", "faults") else "right")
    for joint, (name, servo) in enumerate(zip(SO101.joint_names, diagnostics, strict=True)):
        table.add_row(
            name,
            f"{state.positions_rad[joint]:+.3f}",
            f"{state.velocities_rad_s[joint]:+.2f}",
            f"{100 * state.loads[joint]:+.0f}",
            f"{servo.voltage_v:.1f}",
            f"{servo.temperature_c:.0f}",
            f"{servo.current_a:.2f}",
            "on" if torque[joint] else "off",
            describe_status(servo.status_bits),
        )
    return table
