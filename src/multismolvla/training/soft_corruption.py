"""Damage that no mask tells of, by the faults that the evaluation uses, milder and worse."""

from __future__ import annotations

import numpy as np

from multismolvla.sensing.corruptions.fault import FrameFault
from multismolvla.sensing.corruptions.registry import FAULTS

FRAME_FAULTS: tuple[type[FrameFault], ...] = tuple(
    fault for fault in FAULTS.values() if issubclass(fault, FrameFault)
)
SEVERITIES = (1, 2, 3)
# A share of the damaged frames is sound and old: frozen, late or of a low rate.
STALE_SHARE = 0.3
# Oldest of them, in samples of an episode.
MAX_STALE = 12


def draw_stale(rng: np.random.Generator, soft: np.ndarray) -> np.ndarray:
    """Age in samples (B, S) of the frames, 0 = fresh; only damaged ones (B, S) are old."""
    old = soft & (rng.random(soft.shape) < STALE_SHARE)
    return np.where(old, rng.integers(1, MAX_STALE + 1, soft.shape), 0)


def corrupt(rng: np.random.Generator, kind: str, frame: np.ndarray) -> np.ndarray:
    """Damage one frame (H, W[, 3]), in SI units, by a fault and a severity drawn at random."""
    fault = FRAME_FAULTS[rng.integers(len(FRAME_FAULTS))]
    severity = int(rng.choice(SEVERITIES))
    return fault.at_severity(kind, severity, int(rng.integers(2**31))).corrupt(frame)
