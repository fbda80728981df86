"""A chunk is looked at before it may move anything."""

from __future__ import annotations

import numpy as np

from multismolvla.arm import JOINT_NAMES
from multismolvla.interfaces import ActionChunk, Observation


def check_chunk(chunk: object, observation: Observation) -> ActionChunk:
    """Return the policy's answer if it can be executed.

    Raises:
        ValueError: says in one line what is wrong with it.
    """
    if not isinstance(chunk, ActionChunk):
        raise ValueError(f"the policy returned {type(chunk).__name__}; expected an ActionChunk")
    actions = np.asarray(chunk.actions)
    if actions.ndim != 2 or actions.shape[1] != len(JOINT_NAMES) or len(actions) == 0:
        raise ValueError(
            f"the chunk has shape {actions.shape}; expected (T, {len(JOINT_NAMES)}) with T >= 1"
        )
    if not np.issubdtype(actions.dtype, np.floating):
        raise ValueError(f"the chunk holds {actions.dtype}; expected floating point radians")
    if not np.isfinite(actions).all():
        row, joint = np.argwhere(~np.isfinite(actions))[0]
        raise ValueError(
            f"the chunk has {actions[row, joint]} for {JOINT_NAMES[joint]} in row {row}; "
            "expected finite radians"
        )
    if chunk.stamp_ns != observation.stamp_ns:
        raise ValueError(
            f"the chunk answers the observation of {chunk.stamp_ns} ns; "
            f"expected {observation.stamp_ns} ns"
        )
    return chunk
