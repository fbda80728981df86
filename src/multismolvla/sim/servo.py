"""Six STS3215 servos on the simulated arm's joints: what a servo bus can read and write.

The motor and its position loop are MuJoCo actuators (see assets/so101.xml). This class adds what
the servo's electronics do: 12-bit positions, torque enable, torque limit, supply and temperature.
"""

from __future__ import annotations

import math
import threading

import mujoco
import numpy as np

from multismolvla.embodiment.so101 import SO101

TICK_RAD = 2 * math.pi / 4096
# Feetech STS3215-C018 datasheet: 12 V, stall torque 30 kg cm, no-load speed 45 rpm, stall current
# 2.7 A.
STALL_TORQUE_NM = 2.94
NO_LOAD_SPEED_RAD_S = 4.71
STALL_CURRENT_A = 2.7
IDLE_CURRENT_A = 0.18
SUPPLY_V = 12.0
# Of the six-servo harness; a stalled servo then pulls the bus down by half a volt.
SUPPLY_RESISTANCE_OHM = 0.19
# The gripper is limited to half its torque, as LeRobot configures it, so that it does not burn out
# while it holds an object.
DEFAULT_TORQUE_LIMITS = (1.0, 1.0, 1.0, 1.0, 1.0, 0.5)
# Gear friction and damping that a hand feels when the motor is off: the motor's back-EMF line acts
# only through a closed circuit.
LIMP_DAMPING = 0.10
# First-order heating: a servo held at stall settles 45 K above the room, with a time constant of
# five minutes. Chosen, not measured.
AMBIENT_C = 25.0
STALL_HEATING_K = 45.0
HEATING_TIME_S = 300.0


class Servos:
    """Servo state and commands in radians; joint index 0 to 5 in the order of `SO101.joint_names`.

    Every method may be called from any thread: each takes the simulation's lock.
    """

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData, lock: threading.RLock) -> None:
        self._model, self._data, self._lock = model, data, lock
        self._actuators = np.array([model.actuator(name).id for name in SO101.joint_names])
        joints = [model.joint(name) for name in SO101.joint_names]
        self._qpos = np.array([joint.qposadr[0] for joint in joints])
        self._dofs = np.array([joint.dofadr[0] for joint in joints])
        self._damping = model.dof_damping[self._dofs].copy()
        self._enabled = np.ones(len(SO101), dtype=bool)
        self._limits = np.array(DEFAULT_TORQUE_LIMITS)
        self._temperatures = np.full(len(SO101), AMBIENT_C)
        self._apply()

    def positions_rad(self) -> np.ndarray:
        """(6,) measured positions, rounded to encoder ticks."""
        with self._lock:
            return _quantise(self._data.qpos[self._qpos])

    def velocities_rad_s(self) -> np.ndarray:
        """(6,) measured velocities."""
        with self._lock:
            return self._data.qvel[self._dofs].copy()

    def loads(self) -> np.ndarray:
        """(6,) motor torque as a fraction of the stall torque, -1 to 1."""
        with self._lock:
            return self._data.actuator_force[self._actuators] / STALL_TORQUE_NM

    def currents_a(self) -> np.ndarray:
        """(6,) motor currents, amperes."""
        return IDLE_CURRENT_A + (STALL_CURRENT_A - IDLE_CURRENT_A) * np.abs(self.loads())

    def voltages_v(self) -> np.ndarray:
        """(6,) supply voltage at the servos: they share one bus, so one value for all."""
        drop = SUPPLY_RESISTANCE_OHM * float(self.currents_a().sum())
        return np.full(len(SO101), SUPPLY_V - drop)

    def temperatures_c(self) -> np.ndarray:
        """(6,) motor temperatures, degrees Celsius."""
        with self._lock:
            return self._temperatures.copy()

    def goals_rad(self) -> np.ndarray:
        """(6,) goal positions as the servos hold them, rounded to ticks."""
        with self._lock:
            return self._data.ctrl[self._actuators].copy()

    def torque(self) -> np.ndarray:
        """(6,) bool: which motors are on."""
        with self._lock:
            return self._enabled.copy()

    def set_goal_rad(self, index: int, goal: float) -> None:
        """Set one goal position, radians; a servo with torque off keeps it for later.

        Raises:
            ValueError: the goal is not a finite number.
        """
        if not math.isfinite(goal):
            raise ValueError(f"goal of {SO101.joint_names[index]} is {goal}; expected radians")
        with self._lock:
            self._data.ctrl[self._actuators[index]] = _quantise(goal)

    def set_torque(self, index: int, enabled: bool) -> None:
        """Switch one motor; a joint whose torque is off is limp."""
        with self._lock:
            self._enabled[index] = enabled
            self._apply()

    def set_torque_limit(self, index: int, fraction: float) -> None:
        """Limit one motor's torque to a fraction of the stall torque, 0 to 1.

        Raises:
            ValueError: the fraction lies outside 0 to 1.
        """
        if not 0.0 <= fraction <= 1.0:
            raise ValueError(
                f"torque limit of {SO101.joint_names[index]} is {fraction}; expected 0 to 1"
            )
        with self._lock:
            self._limits[index] = fraction
            self._apply()

    def teleport(self, positions: np.ndarray) -> None:
        """Put the joints at (6,) positions, at rest, torque on, with the goals there."""
        with self._lock:
            self._data.qpos[self._qpos] = positions
            self._data.qvel[self._dofs] = 0.0
            self._data.ctrl[self._actuators] = _quantise(positions)
            self._enabled[:] = True
            self._temperatures[:] = AMBIENT_C
            self._apply()

    def heat(self, duration_s: float) -> None:
        """Advance the temperatures by `duration_s` at the present load."""
        with self._lock:
            settled = AMBIENT_C + STALL_HEATING_K * self.loads() ** 2
            share = 1.0 - math.exp(-duration_s / HEATING_TIME_S)
            self._temperatures += share * (settled - self._temperatures)

    def _apply(self) -> None:
        limits = np.where(self._enabled, self._limits, 0.0) * STALL_TORQUE_NM
        self._model.actuator_forcerange[self._actuators, 0] = -limits
        self._model.actuator_forcerange[self._actuators, 1] = limits
        self._model.dof_damping[self._dofs] = np.where(self._enabled, self._damping, LIMP_DAMPING)


def _quantise(angle: float | np.ndarray) -> np.ndarray:
    return np.round(np.asarray(angle) / TICK_RAD) * TICK_RAD
