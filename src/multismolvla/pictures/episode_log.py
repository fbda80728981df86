"""What one episode of the running stack looked like from outside."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Sample:
    """The stack at one instant.

    Attributes:
        time_s: seconds since the run began.
        state: (S,) measured state of the arm, radians for joints, or None before the first.
        target: (A,) commanded action, or None while nothing is commanded.
        mask: True per stream that the policy uses.
        mask_reason: why a stream is masked; empty for one in use.
        queue_length: actions left in the policy's queue.
        mode: idle, running or hold.
        control_rate_hz: setpoints published per second.
        latency_ms: duration of the last inference.
        overload: how late the stack runs, "" where it keeps up.
        shed: what is reduced for it.
    """

    time_s: float
    state: np.ndarray | None
    target: np.ndarray | None
    mask: dict[str, bool]
    mask_reason: dict[str, str]
    queue_length: int
    mode: str
    control_rate_hz: float = 0.0
    latency_ms: float = 0.0
    overload: str = ""
    shed: tuple[str, ...] = ()


@dataclass
class EpisodeLog:
    """One episode: instruction, damage, frames, result.

    Attributes:
        frames: (time_s, newest conditioned frame per stream) at the rate of the film.
        fault: streams cut during the episode, and when, or None for a clean one.
        success_time_s: seconds from the instruction to success, or None where it failed.
    """

    task: str
    instruction: str
    seed: int
    start_s: float
    end_s: float = 0.0
    fault: tuple[float, tuple[str, ...]] | None = None
    success_time_s: float | None = None
    samples: list[Sample] = field(default_factory=list)
    frames: list[tuple[float, dict[str, np.ndarray]]] = field(default_factory=list)

    @property
    def success(self) -> bool:
        return self.success_time_s is not None

    def sample_at(self, time_s: float) -> Sample:
        """The sample nearest in time. Raises ValueError where the episode has none."""
        return min(self.samples, key=lambda sample: abs(sample.time_s - time_s))
