"""LeRobot's units for joints: degrees, and for a gripper per cent of its range."""

from __future__ import annotations

import math

import numpy as np

from multismolvla.embodiment.description import Embodiment


def to_radians(embodiment: Embodiment) -> tuple[np.ndarray, np.ndarray]:
    """Scale (J,) and offset (J,) with which `value * scale + offset` is an angle in radians."""
    scale = np.full(len(embodiment), math.pi / 180.0)
    offset = np.zeros(len(embodiment))
    for place, joint in enumerate(embodiment.joints):
        if joint.name in embodiment.gripper_joints:
            scale[place] = (joint.upper_rad - joint.lower_rad) / 100.0
            offset[place] = joint.lower_rad
    return scale, offset
