"""The acting half of the stack without ROS: setpoints through the driver's safety filter."""

from __future__ import annotations

import numpy as np

from multismolvla.arm import JOINT_LOWER_RAD, JOINT_NAMES, JOINT_UPPER_RAD
from multismolvla.control.safety import Command, SafetyFilter, SafetyLimits
from multismolvla.control.trajectory import Trajectory
from multismolvla.sim.servo import Servos

# As config/so101_driver.yaml has them.
RATE_HZ = 100
MAX_VELOCITY_RAD_S = 3.0
MAX_ACCELERATION_RAD_S2 = 30.0
COMMAND_TIMEOUT_S = 0.2
_JOINTS = np.ones(len(JOINT_NAMES))


class RobotInSimulation:
    """Follows trajectories with simulated servos, as `so101_driver` does with its bus.

    The driver's slow start after being switched on is left out: an episode begins with an arm that
    has been commanded before.

    Attributes:
        limit_hits: how often a command went beyond the limit of a joint.
        fastest_rad_s: greatest speed of a joint's goal from one period to the next.
    """

    def __init__(self, servos: Servos) -> None:
        self._servos = servos
        self._safety = SafetyFilter(
            SafetyLimits(
                JOINT_LOWER_RAD,
                JOINT_UPPER_RAD,
                MAX_VELOCITY_RAD_S * _JOINTS,
                MAX_ACCELERATION_RAD_S2 * _JOINTS,
                COMMAND_TIMEOUT_S,
                ramp_s=0.0,
                max_step_s=3 / RATE_HZ,
            )
        )
        self._trajectory: Trajectory | None = None
        self._velocities: list[np.ndarray] = []
        self._beyond = False
        self.limit_hits = 0
        self._goal_rad: np.ndarray | None = None
        self.fastest_rad_s = 0.0

    def follow(self, trajectory: Trajectory) -> None:
        """Follow this trajectory from now on."""
        self._trajectory = trajectory

    def tick(self, now_ns: int) -> np.ndarray:
        """One period of the driver; return (6,) measured positions, radians."""
        pose = self._servos.positions_rad()
        self._velocities.append(self._servos.velocities_rad_s())
        command = None
        if self._trajectory is not None:
            target, velocity = self._trajectory.sample(now_ns)
            command = Command(self._trajectory.stamp_ns, target, velocity)
            beyond = bool(((target < JOINT_LOWER_RAD) | (target > JOINT_UPPER_RAD)).any())
            self.limit_hits += beyond and not self._beyond
            self._beyond = beyond
        held = pose if self._safety.moving else self._servos.goals_rad()
        setpoint = self._safety.step(now_ns, held, command)
        if setpoint.goal_rad is not None:
            if self._goal_rad is not None:
                step_rad = float(np.abs(setpoint.goal_rad - self._goal_rad).max())
                self.fastest_rad_s = max(self.fastest_rad_s, step_rad * RATE_HZ)
            self._goal_rad = setpoint.goal_rad.copy()
            for joint, goal in enumerate(setpoint.goal_rad):
                self._servos.set_goal_rad(joint, goal)
        return pose

    def jerk_rad_s3(self) -> float:
        """Root mean square of the joints' jerk so far, from their true velocities."""
        if len(self._velocities) < 3:
            return 0.0
        jerk = np.diff(np.array(self._velocities), n=2, axis=0) * RATE_HZ**2
        return float(np.sqrt(np.mean(jerk**2)))
