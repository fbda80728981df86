"""The simplest arm that an emulated bus can turn: every joint runs after its goal."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from multismolvla.embodiment.so101 import SO101

AMBIENT_C = 25.0
SUPPLY_V = 12.0

# No-load speed of the STS3215 at 12 V, 45 rpm (Feetech STS3215-C018 datasheet).
MAX_SPEED_RAD_S = 4.7


class FirstOrderPlant:
    """Six massless joints that approach their goals exponentially, no faster than a servo.

    Args:
        positions_rad: (6,) pose at start.
        time_constant_s: time in which the distance to the goal falls to 37 %.
        clock: seconds; each read of the positions moves the plant by the time since the last one.
    """

    def __init__(
        self,
        positions_rad: np.ndarray = SO101.home_rad,
        time_constant_s: float = 0.03,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._positions = np.array(positions_rad, dtype=float)
        self._velocities = np.zeros(len(SO101))
        self._goals = self._positions.copy()
        self._torque = np.zeros(len(SO101), dtype=bool)
        self._time_constant_s = time_constant_s
        self._clock = clock
        self._then_s = clock()
        # Free for tests to change.
        self.temperatures = np.full(len(SO101), AMBIENT_C)
        self.voltages = np.full(len(SO101), SUPPLY_V)
        self.torque_limits = np.ones(len(SO101))

    def move_to(self, positions_rad: np.ndarray) -> None:
        """Put the arm somewhere at once, goals included, as a reset of a simulation does."""
        self._positions = np.array(positions_rad, dtype=float)
        self._goals = self._positions.copy()

    def torque(self) -> np.ndarray:
        """(6,) bool."""
        return self._torque.copy()

    def positions_rad(self) -> np.ndarray:
        now_s = self._clock()
        elapsed_s = max(0.0, now_s - self._then_s)
        self._then_s = now_s
        distance = np.where(self._torque, self._goals - self._positions, 0.0)
        reach = MAX_SPEED_RAD_S * elapsed_s
        step = distance * (1.0 - np.exp(-elapsed_s / self._time_constant_s))
        self._positions = self._positions + np.clip(step, -reach, reach)
        self._velocities = np.clip(
            distance / self._time_constant_s, -MAX_SPEED_RAD_S, MAX_SPEED_RAD_S
        )
        return self._positions.copy()

    def velocities_rad_s(self) -> np.ndarray:
        return self._velocities.copy()

    def loads(self) -> np.ndarray:
        return np.clip(self._velocities / MAX_SPEED_RAD_S, -1.0, 1.0)

    def temperatures_c(self) -> np.ndarray:
        return self.temperatures

    def voltages_v(self) -> np.ndarray:
        return self.voltages

    def currents_a(self) -> np.ndarray:
        return np.abs(self.loads())

    def goals_rad(self) -> np.ndarray:
        return self._goals.copy()

    def set_goal_rad(self, joint: int, goal: float) -> None:
        self._goals[joint] = goal

    def set_torque(self, joint: int, enabled: bool) -> None:
        self._torque[joint] = enabled

    def set_torque_limit(self, joint: int, fraction: float) -> None:
        self.torque_limits[joint] = fraction
