"""The two values that cross from perception to control, and the policy between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Observation:
    """What the policy may know at one instant.

    Attributes:
        stamp_ns: time of the reference frame on the node clock, nanoseconds.
        frames: conditioned frame per stream, or None where the stream has none. RGB (H, W, 3)
            uint8; depth (H, W) float32 metres, NaN = no return; thermal (H, W) float32 degrees
            Celsius; segmentation (H, W) uint8 labels.
        mask: True per stream that may be used. A masked stream's frame must not influence the
            action.
        state: (S,) float64 numbers of the arm's state, in its order: joint positions, radians,
            unless the arm has other states.
        task: the language instruction; empty means that there is no task.
        privileged: object name -> (7,) x, y, z, qw, qx, qy, qz in the robot's base frame, metres.
            Only a simulator can fill it, and only the scripted expert reads it.
    """

    stamp_ns: int
    frames: Mapping[str, np.ndarray | None]
    mask: Mapping[str, bool]
    state: np.ndarray
    task: str
    privileged: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class ActionChunk:
    """Actions over time: joint targets, or steps of the gripper, as the arm takes them.

    Row k of `actions` is the target for `stamp_ns + k * period_s`, or the step from then on: row 0
    belongs to the instant of the observation. `control.action_queue` decides at which row a late
    chunk is merged.

    Attributes:
        stamp_ns: stamp of the observation of this chunk.
        period_s: time between two rows, seconds.
        actions: (T, A) float64 in the order of the arm's action space; targets of joints are
            radians.
    """

    stamp_ns: int
    period_s: float
    actions: np.ndarray

    def __post_init__(self) -> None:
        if self.actions.ndim != 2:
            raise ValueError(
                f"actions have shape {self.actions.shape}; expected (T, A), A numbers of an action"
            )
        if not self.period_s > 0:
            raise ValueError(f"period_s is {self.period_s}; expected a positive time in seconds")

    @property
    def end_ns(self) -> int:
        """Time until which the chunk has a target: one period after its last row."""
        return self.stamp_ns + round(len(self.actions) * self.period_s * 1e9)


class Policy(Protocol):
    """Anything that turns observations into chunks. `infer` may be slow: it has its own thread.

    A policy that never reads `Observation.privileged` may set `reads_privileged = False`; it is
    not collected then.
    """

    def infer(self, observation: Observation) -> ActionChunk:
        """Return the chunk for this observation; raise ValueError on input it cannot use."""
        ...

    def reset(self) -> None:
        """Forget everything that belongs to the previous task or episode."""
        ...
