"""What an arm runner moves, servos on a bus or in a simulator, and what it reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from multismolvla.control.safety import SafetyFilter, SafetyLimits, SafetyState
from multismolvla.embodiment.description import Embodiment
from multismolvla.robot.so101 import ArmState, ServoDiagnostics, held_pose_rad
from multismolvla.sim.servo import Servos
from multismolvla.stack.settings import DriverSettings

# After a stall of the loop this many periods are made up for.
MAX_STEP_PERIODS = 3


class Arm(Protocol):
    """Servos that hold goals: `robot.so101.SO101Arm` on its bus, `SimulatedArm` in a simulator.

    Methods raise `BusError` where the servos cannot be reached.
    """

    name: str

    def prepare(self) -> None:
        """Configure the servos, which may have lost power; what they hold they go on holding."""

    def read(self) -> ArmState:
        """Read positions, velocities and loads."""

    def held_pose_rad(self, state: ArmState) -> np.ndarray:
        """(J,) pose from which a movement can start without a jerk, the goals where they hold."""

    def write_goals_rad(self, goals_rad: np.ndarray) -> None:
        """Send (J,) goals to all servos."""

    def torque(self) -> np.ndarray:
        """(J,) bool: which servos have their torque on."""

    def check_torque(self) -> None:
        """Raise `TorqueLost` if a servo has its torque off."""

    def set_torque(self, enabled: bool) -> None:
        """Switch the torque of every servo; one that was limp holds where it is."""

    def read_diagnostics(self, joint: int) -> ServoDiagnostics:
        """Read voltage, temperature, current and status of one servo."""

    def serious_fault(self) -> str:
        """Faults for which the arm must hold, as last reported by the servos; "" for none."""

    def supply_warning(self) -> tuple[int, ...]:
        """Joints (indices) whose servos complain of their supply voltage; work goes on."""

    @property
    def retried(self) -> int:
        """Requests that had to be sent again since the arm was reached."""

    def close(self) -> None:
        """Release the servos, which hold where they are."""


@dataclass(frozen=True)
class ArmStatus:
    """What the runner reports.

    Attributes:
        fault: why the arm cannot be driven, "" when it can.
        servo_fault: what servos report of themselves for which the arm holds, "" if nothing.
        warning: what servos report with which work goes on, "" if nothing.
        bus_errors: ticks without a good answer.
        bus_retries: requests that had to be sent again.
        diagnostics: per joint name, as far as read.
    """

    connected: bool
    fault: str
    servo_fault: str
    warning: str
    state: SafetyState
    reason: str
    torque: bool
    bus_errors: int
    bus_retries: int
    diagnostics: dict[str, ServoDiagnostics]

    @property
    def summary(self) -> tuple:
        """What is worth reporting at once when it changes."""
        return self.state, self.reason, self.fault, self.torque


class SimulatedArm:
    """An arm whose servos are the simulator's, without a bus: nothing on it can fail."""

    name = "the simulator"

    def __init__(self, servos: Servos) -> None:
        self._servos = servos

    def prepare(self) -> None:
        """Nothing: simulated servos are configured from the start."""

    def read(self) -> ArmState:
        servos = self._servos
        return ArmState(servos.positions_rad(), servos.velocities_rad_s(), servos.loads())

    def held_pose_rad(self, state: ArmState) -> np.ndarray:
        return held_pose_rad(self._servos.goals_rad(), state.positions_rad, self.torque())

    def write_goals_rad(self, goals_rad: np.ndarray) -> None:
        for joint, goal in enumerate(goals_rad):
            self._servos.set_goal_rad(joint, goal)

    def torque(self) -> np.ndarray:
        return self._servos.torque()

    def check_torque(self) -> None:
        """Nothing: a simulated servo loses no power."""

    def set_torque(self, enabled: bool) -> None:
        positions_rad, torque = self._servos.positions_rad(), self.torque()
        for joint, has_torque in enumerate(torque):
            if enabled and not has_torque:
                # A servo keeps its old goal while limp, and would run there.
                self._servos.set_goal_rad(joint, positions_rad[joint])
            self._servos.set_torque(joint, enabled)

    def read_diagnostics(self, joint: int) -> ServoDiagnostics:
        servos = self._servos
        return ServoDiagnostics(
            float(servos.voltages_v()[joint]),
            float(servos.temperatures_c()[joint]),
            float(servos.currents_a()[joint]),
            0,
        )

    def serious_fault(self) -> str:
        return ""

    def supply_warning(self) -> tuple[int, ...]:
        return ()

    @property
    def retried(self) -> int:
        return 0

    def close(self) -> None:
        """Nothing: the simulator goes on."""


def safety_filter(settings: DriverSettings, embodiment: Embodiment) -> SafetyFilter:
    """The filter that keeps the limits of the arm and of the settings."""
    joints = np.ones(len(embodiment))
    return SafetyFilter(
        SafetyLimits(
            embodiment.joint_names,
            embodiment.lower_rad,
            embodiment.upper_rad,
            settings.max_velocity_rad_s * joints,
            settings.max_acceleration_rad_s2 * joints,
            settings.command_timeout_s,
            settings.ramp_s,
            MAX_STEP_PERIODS / settings.rate_hz,
        )
    )
