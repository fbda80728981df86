"""From trajectories to goals of the servos: safety filter, torque and recovery from bus faults.

Runs in the thread that calls `tick`; the other methods may be called from any thread. The arm
belongs to that thread alone. `_lock` guards the filter and the command, and is never held while the
arm is read or written.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from multismolvla.control.safety import Command, SafetyFilter, SafetyState, Setpoint
from multismolvla.control.trajectory import Trajectory
from multismolvla.robot.errors import (
    BusError,
    BusLost,
    CorruptPacket,
    PortUnavailable,
    ServoTimeout,
    TorqueLost,
)
from multismolvla.robot.so101 import ArmState, ServoDiagnostics
from multismolvla.stack.arm import Arm, ArmStatus

# Ticks in a row without an answer until it counts as a fault: a single one may be noise.
FAULT_TICKS = 3

# Pauses between attempts to reach the arm again: the first, and the longest after doubling.
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 2.0

# One servo's diagnostics per this many ticks: at 100 Hz, each servo every 0.6 s.
DIAGNOSTICS_TICKS = 10


class ArmRunner:
    """Reads the arm, filters the command and writes goals, once per `tick`.

    Args:
        open_arm: reaches the servos; called again after they were lost.
        clock_ns: the clock that commands are stamped with.
        on_state: gets every reading of the arm.
        on_event: gets (severity, text): `info`, `warning` or `error`, once per change.
        on_setpoint: gets the command, if there is one, and what the filter made of it.
        steady_s: the clock of the pauses between attempts to reach the arm, seconds.
    """

    def __init__(
        self,
        open_arm: Callable[[], Arm],
        safety: SafetyFilter,
        clock_ns: Callable[[], int],
        on_state: Callable[[ArmState], None],
        on_event: Callable[[str, str], None],
        on_setpoint: Callable[[Command | None, Setpoint], None] | None = None,
        steady_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open_arm = open_arm
        self._safety = safety
        self._clock_ns = clock_ns
        self._on_state = on_state
        self._on_event = on_event
        self._on_setpoint = on_setpoint
        self._steady_s = steady_s

        self._lock = threading.Lock()
        self._trajectory: Trajectory | None = None
        # Why there is no command; empty before the first.
        self._no_command = ""
        self._wants_torque = True
        self._has_torque = False
        self._torque_done = threading.Event()

        self._arm: Arm | None = None
        self._fault = ""
        self._servo_fault = ""
        self._lost = False
        self._failed_ticks = 0
        self._retry_at_s = 0.0
        self._pause_s = FIRST_PAUSE_S
        self._bus_errors = 0
        # Of connections that are closed.
        self._bus_retries = 0
        self._warning = ""
        # Joints whose servos ever complained of their supply.
        self._warned: set[int] = set()
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

    def status(self) -> ArmStatus:
        with self._lock:
            return ArmStatus(
                self._arm is not None and not self._fault,
                self._fault,
                self._servo_fault,
                self._warning,
                self._safety.state,
                self._safety.reason,
                self._has_torque,
                self._bus_errors,
                self._bus_retries + (0 if self._arm is None else self._arm.retried),
                dict(self._diagnostics),
            )

    def close(self) -> None:
        """Release the arm. The servos hold where they are."""
        with self._lock:
            arm, self._arm = self._arm, None
            self._bus_retries += 0 if arm is None else arm.retried
        if arm is not None:
            arm.close()

    def tick(self) -> None:
        """One control period; takes no exception that the bus may raise further."""
        if self._fault and self._steady_s() < self._retry_at_s:
            return
        try:
            if self._arm is None:
                self._connect()
            elif self._fault:
                self._recover(self._arm)
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
        arm = self._open_arm()
        try:
            self._ready(arm)
        except BusError:
            self._bus_retries += arm.retried
            arm.close()
            raise
        self._arm = arm
        self._clear_fault(f"connected to the arm on {arm.name}")

    def _recover(self, arm: Arm) -> None:
        self._ready(arm)
        self._clear_fault("all servos answer again")

    def _ready(self, arm: Arm) -> None:
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
        # A lost port that does not exist either is the same fault.
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
        self._retry_at_s = self._steady_s() + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    def _control(self, arm: Arm) -> None:
        self._switch_torque(arm)
        state = arm.read()
        self._on_state(state)
        self._warn(arm)
        now_ns = self._clock_ns()
        with self._lock:
            if now_ns < self._then_ns:
                self._trajectory = None
                self._no_command = "the clock jumped back"
            self._then_ns = now_ns
            command, reason = self._command(now_ns, arm)
            starts = command is not None and not self._safety.moving
        pose_rad = arm.held_pose_rad(state) if starts else state.positions_rad
        with self._lock:
            setpoint = self._safety.step(now_ns, pose_rad, command, reason)
            if command is not None and setpoint.state is not SafetyState.TRACKING:
                self._trajectory = None
                self._no_command = setpoint.reason
        if setpoint.goal_rad is not None:
            arm.write_goals_rad(setpoint.goal_rad)
        if self._on_setpoint is not None:
            self._on_setpoint(command, setpoint)
        self._diagnose(arm)

    def _warn(self, arm: Arm) -> None:
        """Tell of servos that complain of their supply: each once, however often it does."""
        joints = arm.supply_warning()
        named = ", ".join(self._safety.joint_names[joint] for joint in joints)
        self._warning = f"supply voltage out of range at the servo of {named}" if joints else ""
        if not self._warned.issuperset(joints):
            self._warned.update(joints)
            self._on_event(
                "warning",
                f"{self._warning}; work goes on: check the supply, and that it is the one for "
                "these servos (7.4 V or 12 V)",
            )

    def _command(self, now_ns: int, arm: Arm) -> tuple[Command | None, str]:
        """The command for now, or why there is none."""
        self._servo_fault = arm.serious_fault()
        if self._servo_fault:
            return None, self._servo_fault
        if not self._has_torque:
            return None, "torque is off"
        if self._trajectory is None:
            return None, self._no_command
        target_rad, velocity_rad_s = self._trajectory.sample(now_ns)
        return Command(self._trajectory.stamp_ns, target_rad, velocity_rad_s), ""

    def _switch_torque(self, arm: Arm) -> None:
        with self._lock:
            wanted = self._wants_torque
            due = not self._torque_done.is_set()
        if not due:
            return
        arm.set_torque(wanted)
        with self._lock:
            self._has_torque = wanted
            # The opposite may have been requested meanwhile: that is done in the next tick.
            if wanted == self._wants_torque:
                self._torque_done.set()
            if not wanted:
                self._safety.freeze("torque is off")

    def _diagnose(self, arm: Arm) -> None:
        self._ticks += 1
        if self._ticks % DIAGNOSTICS_TICKS == 0:
            names = self._safety.joint_names
            joint = self._ticks // DIAGNOSTICS_TICKS % len(names)
            read = arm.read_diagnostics(joint)
            with self._lock:
                self._diagnostics[names[joint]] = read
            # A servo whose supply fails for a moment answers again, but limp.
            if joint == 0 and self._has_torque:
                arm.check_torque()

    def _log_state(self) -> None:
        """Report when the arm begins or ceases to follow; a bus fault has been reported already."""
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
