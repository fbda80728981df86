"""The control loop of the arm: bus, safety filter and recovery from bus faults. No ROS.

Runs in the thread that calls `tick`; the other methods may be called from any thread. The bus
belongs to the loop's thread alone. `_lock` guards the filter and the command, and is never held
over bus traffic.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from multismolvla.arm import JOINT_NAMES
from multismolvla.control.safety import Command, SafetyFilter, SafetyState
from multismolvla.control.trajectory import Trajectory
from multismolvla.robot.bus import FeetechBus
from multismolvla.robot.calibration import Calibration
from multismolvla.robot.errors import (
    BusError,
    BusLost,
    CorruptPacket,
    PortUnavailable,
    ServoTimeout,
    TorqueLost,
)
from multismolvla.robot.protocol import OVERLOAD, describe_status
from multismolvla.robot.so101 import GRIPPER_JOINT, ArmState, ServoDiagnostics, SO101Arm

# Ticks in a row without an answer until it counts as a fault: a single one may be noise.
FAULT_TICKS = 3

# Pauses between attempts to reach the arm again: the first, and the longest after doubling.
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 2.0

# One servo's diagnostics per this many ticks: at 100 Hz, each servo every 0.6 s.
DIAGNOSTICS_TICKS = 10

# Every status bit but the supply voltage's: the servo protects itself and does not hold its goal.
SERIOUS_BITS = 0xFE


@dataclass(frozen=True)
class LoopStatus:
    """What the loop says about itself.

    Attributes:
        fault: why the arm cannot be driven, "" when it can.
        servo_fault: what servos report of themselves for which the arm holds, "" if nothing.
        diagnostics: per joint name, as far as read.
    """

    connected: bool
    fault: str
    servo_fault: str
    state: SafetyState
    reason: str
    torque: bool
    bus_errors: int
    diagnostics: dict[str, ServoDiagnostics]


class ArmLoop:
    """Reads the arm, filters the command and writes goals, once per `tick`.

    Args:
        open_bus: opens the bus; called again after it was lost.
        clock_ns: the clock that commands are stamped with.
        on_state: gets every reading of the arm.
        on_event: gets (severity, text): `info`, `warning` or `error`, once per change.
    """

    def __init__(
        self,
        open_bus: Callable[[], FeetechBus],
        calibration: Calibration,
        safety: SafetyFilter,
        clock_ns: Callable[[], int],
        on_state: Callable[[ArmState], None],
        on_event: Callable[[str, str], None],
    ) -> None:
        self._open_bus = open_bus
        self._calibration = calibration
        self._safety = safety
        self._clock_ns = clock_ns
        self._on_state = on_state
        self._on_event = on_event

        self._lock = threading.Lock()
        self._trajectory: Trajectory | None = None
        # Why there is no command; empty before the first.
        self._no_command = ""
        self._wants_torque = True
        self._has_torque = False
        self._torque_done = threading.Event()

        self._bus: FeetechBus | None = None
        self._arm: SO101Arm | None = None
        self._fault = ""
        self._servo_fault = ""
        self._lost = False
        self._failed_ticks = 0
        self._retry_at_s = 0.0
        self._pause_s = FIRST_PAUSE_S
        self._bus_errors = 0
        self._ticks = 0
        self._then_ns = 0
        self._logged: tuple[SafetyState, str] = (safety.state, safety.reason)
        self._diagnostics: dict[str, ServoDiagnostics] = {}

    def follow(self, trajectory: Trajectory) -> None:
        """Follow this trajectory from now on, instead of any other."""
        with self._lock:
            self._trajectory = trajectory

    def hold(self, reason: str) -> None:
        """Forget the trajectory and hold until there is a new one."""
        with self._lock:
            self._trajectory = None
            self._no_command = reason

    def stop(self) -> None:
        """Hold until `reset`, whatever is commanded."""
        with self._lock:
            self._trajectory = None
            self._safety.stop("stopped; call ~/reset to continue")

    def reset(self) -> None:
        """Clear a stop."""
        with self._lock:
            self._trajectory = None
            self._no_command = ""
            self._safety.reset()

    def set_torque(self, enabled: bool, timeout_s: float) -> bool:
        """Switch the torque; return whether it was done in time. Off lets the arm drop."""
        with self._lock:
            self._wants_torque = enabled
            self._trajectory = None
            self._no_command = "" if enabled else "torque is off"
            self._torque_done.clear()
        return self._torque_done.wait(timeout_s)

    def status(self) -> LoopStatus:
        with self._lock:
            return LoopStatus(
                self._arm is not None and not self._fault,
                self._fault,
                self._servo_fault,
                self._safety.state,
                self._safety.reason,
                self._has_torque,
                self._bus_errors,
                dict(self._diagnostics),
            )

    def close(self) -> None:
        """Release the port. The servos hold where they are."""
        if self._bus is not None:
            self._bus.close()
        self._bus = self._arm = None

    def tick(self) -> None:
        """One control period; takes no exception that the bus may raise further."""
        if self._fault and time.monotonic() < self._retry_at_s:
            return
        try:
            if self._arm is None:
                self._connect()
            elif self._fault:
                self._recover()
            self._control(self._arm)
            self._failed_ticks = 0
        except TorqueLost as error:
            self._fail(error)
        except (ServoTimeout, CorruptPacket) as error:
            self._bus_errors += 1
            self._failed_ticks += 1
            if self._failed_ticks >= FAULT_TICKS or self._arm is None:
                self._fail(error)
        except BusError as error:
            self.close()
            self._fail(error)
        self._log_state()

    def _connect(self) -> None:
        self._bus = self._open_bus()
        arm = SO101Arm(self._bus, self._calibration)
        try:
            self._ready(arm)
        except BusError:
            self.close()
            raise
        self._arm = arm
        self._clear_fault(f"connected to the arm on {self._bus.port}")

    def _recover(self) -> None:
        self._ready(self._arm)
        self._clear_fault("all servos answer again")

    def _ready(self, arm: SO101Arm) -> None:
        """Servos may have lost power meanwhile: configure them again, and let limp ones hold."""
        arm.prepare()
        arm.read()
        if self._wants_torque:
            arm.set_torque(True)
        self._has_torque = bool(arm.torque().all())

    def _clear_fault(self, text: str) -> None:
        with self._lock:
            self._fault = self._no_command = ""
            if self._safety.state is not SafetyState.STOPPED:
                self._safety.reset()
        self._pause_s = FIRST_PAUSE_S
        self._failed_ticks = 0
        self._on_event("info", text)

    def _fail(self, error: BusError) -> None:
        """Hold, say why once, and try again after a pause that grows."""
        # That a lost port does not exist is no news.
        self._lost = isinstance(error, BusLost) or (
            self._lost and isinstance(error, PortUnavailable)
        )
        text = self._fault if self._fault and self._lost else str(error)
        if text != self._fault:
            self._on_event("error", f"{text}; holding, retrying")
        with self._lock:
            self._fault = text
            self._trajectory = None
            self._no_command = text
            self._safety.freeze(text)
        self._retry_at_s = time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    def _control(self, arm: SO101Arm) -> None:
        self._switch_torque(arm)
        state = arm.read()
        self._on_state(state)
        now_ns = self._clock_ns()
        with self._lock:
            if now_ns < self._then_ns:
                self._trajectory = None
                self._no_command = "the clock jumped back"
            self._then_ns = now_ns
            command, reason = self._command(now_ns)
            starts = command is not None and not self._safety.moving
        pose_rad = arm.held_pose_rad(state) if starts else state.positions_rad
        with self._lock:
            setpoint = self._safety.step(now_ns, pose_rad, command, reason)
            if command is not None and setpoint.state is not SafetyState.TRACKING:
                self._trajectory = None
                self._no_command = setpoint.reason
        if setpoint.goal_rad is not None:
            arm.write_goals_rad(setpoint.goal_rad)
        self._diagnose(arm)

    def _command(self, now_ns: int) -> tuple[Command | None, str]:
        """The command for now, or why there is none."""
        self._servo_fault = self._serious_fault()
        if self._servo_fault:
            return None, self._servo_fault
        if not self._has_torque:
            return None, "torque is off"
        if self._trajectory is None:
            return None, self._no_command
        target_rad, velocity_rad_s = self._trajectory.sample(now_ns)
        return Command(self._trajectory.stamp_ns, target_rad, velocity_rad_s), ""

    def _serious_fault(self) -> str:
        """Faults that servos report of themselves, in words; empty when there is none."""
        gripper = self._calibration.ids[GRIPPER_JOINT]
        serious = {
            # A gripper that squeezes an object for seconds is meant to go into overload: it is
            # configured to hold on with less torque then.
            servo: bits & SERIOUS_BITS & ~(OVERLOAD if servo == gripper else 0)
            for servo, bits in sorted(self._bus.status_bits.items())
        }
        faults = [
            f"{self._bus.describe([servo])} reports {describe_status(bits)}"
            for servo, bits in serious.items()
            if bits
        ]
        if not faults:
            return ""
        return f"{', '.join(faults)}; free the arm, then switch the torque off and on"

    def _switch_torque(self, arm: SO101Arm) -> None:
        with self._lock:
            wanted = self._wants_torque
            due = not self._torque_done.is_set()
        if not due:
            return
        arm.set_torque(wanted)
        with self._lock:
            self._has_torque = wanted
            # Asked for the opposite meanwhile: that one is due at the next tick.
            if wanted == self._wants_torque:
                self._torque_done.set()
            if not wanted:
                self._safety.freeze("torque is off")

    def _diagnose(self, arm: SO101Arm) -> None:
        self._ticks += 1
        if self._ticks % DIAGNOSTICS_TICKS == 0:
            joint = self._ticks // DIAGNOSTICS_TICKS % len(JOINT_NAMES)
            read = arm.read_diagnostics(joint)
            with self._lock:
                self._diagnostics[JOINT_NAMES[joint]] = read
            # A servo whose supply fails for a moment answers again, but limp.
            if joint == 0 and self._has_torque:
                arm.check_torque()

    def _log_state(self) -> None:
        """Say when the arm begins or ceases to follow; a bus fault has been said already."""
        state, reason = self._safety.state, self._safety.reason
        if (state, reason) == self._logged or reason == self._fault != "":
            return
        before, _ = self._logged
        if state is SafetyState.TRACKING:
            if before is not SafetyState.TRACKING:
                self._on_event("info", "following commands")
            self._logged = (state, "")
            return
        self._logged = (state, reason)
        if state is SafetyState.IDLE:
            self._on_event("info", f"ready: {reason}")
        else:
            self._on_event("warning", f"holding: {reason}")
