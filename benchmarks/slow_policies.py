"""Policies that take a second per chunk, for measuring what that does to the control loop."""

import time

import numpy as np

from multismolvla.embodiment.so101 import SO101
from multismolvla.interfaces import ActionChunk

INFERENCE_S = 1.0
PERIOD_S = 1 / 30
# One call in flight: chunks must span twice the inference and the age of the observation.
ROWS = 75


class WaitingPolicy:
    """Leaves processor and interpreter alone, as one that computes on an accelerator does.

    Swings one joint by a function of time, so that every chunk plans the same motion.
    """

    def infer(self, observation):
        self._spend(INFERENCE_S)
        times_s = observation.stamp_ns * 1e-9 % 1000.0 + np.arange(ROWS) * PERIOD_S
        actions = np.tile(SO101.home_rad, (ROWS, 1))
        actions[:, 0] = 0.5 * np.sin(times_s)
        return ActionChunk(observation.stamp_ns, PERIOD_S, actions)

    def reset(self):
        pass

    def _spend(self, seconds):
        time.sleep(seconds)


class BusyPolicy(WaitingPolicy):
    """Burns a processor in pure Python, holding the interpreter: the worst neighbour."""

    def _spend(self, seconds):
        end, burnt = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            burnt += sum(i * i for i in range(1000))
