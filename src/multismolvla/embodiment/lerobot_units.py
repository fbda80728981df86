"""LeRobot's units for joints: degrees or -100 to 100, and for a gripper per cent of its range.

Up to LeRobot 0.4.3 an SO-100 or SO-101 recorded -100 to 100 over each joint's calibrated travel
unless told otherwise, from 0.4.4 on degrees (pull request 2968). No file says which.
"""

from __future__ import annotations

import math

import numpy as np

from multismolvla.embodiment.description import Embodiment

DEGREES, NORMALIZED, RADIANS = "degrees", "normalized", "radians"
UNITS = (DEGREES, NORMALIZED, RADIANS)
# A calibration's zero is not exactly the middle of the joint's travel, and a stop gives way.
_MARGIN_DEG = 20.0
# LeRobot clips to this, so that a joint at its stop is there exactly.
_END = 100.0
_EXACT = 1e-3


def to_radians(embodiment: Embodiment) -> tuple[np.ndarray, np.ndarray]:
    """Scale (J,) and offset (J,) with which `value * scale + offset` is an angle in radians."""
    scale = np.full(len(embodiment), math.pi / 180.0)
    offset = np.zeros(len(embodiment))
    for place, joint in enumerate(embodiment.joints):
        if joint.name in embodiment.gripper_joints:
            scale[place] = (joint.upper_rad - joint.lower_rad) / 100.0
            offset[place] = joint.lower_rad
    return scale, offset


def normalized_to_radians(
    embodiment: Embodiment, travel_rad: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """As `to_radians`, for joints in -100 to 100 of a calibrated travel (J,) around zero."""
    scale, offset = to_radians(embodiment)
    for place, joint in enumerate(embodiment.joints):
        if joint.name not in embodiment.gripper_joints:
            scale[place] = travel_rad[place] / 200.0
    return scale, offset


def recognise(lowest: np.ndarray, highest: np.ndarray, embodiment: Embodiment) -> tuple[str, str]:
    """What joints are given in, from the least and the largest value of each, (J,).

    Returns:
        One of `UNITS` where the values leave no doubt, else ""; and the reason in words.
    """
    arm = np.array([joint.name not in embodiment.gripper_joints for joint in embodiment.joints])
    names = [joint.name for joint in embodiment.joints]
    reach = np.where(arm, np.maximum(np.abs(lowest), np.abs(highest)), 0.0)
    limits = np.rad2deg(
        [max(abs(joint.lower_rad), abs(joint.upper_rad)) for joint in embodiment.joints]
    )
    if not arm.any() or not np.isfinite(reach).all():
        return "", "there are no numbers to judge by"
    most = int(np.argmax(reach))
    beyond = np.flatnonzero(reach > limits + _MARGIN_DEG)
    if len(beyond):
        place = int(beyond[0])
        return "", (
            f"{names[place]} reaches {reach[place]:.4g}, beyond its {limits[place]:.0f} degrees: "
            "ticks, or counted from another zero, as LeRobot before 0.2 did"
        )
    if reach[most] > _END + _EXACT:
        return DEGREES, f"{names[most]} reaches {reach[most]:.4g}, more than -100 to 100 allows"
    ends = np.flatnonzero(np.abs(reach - _END) <= _EXACT)
    if len(ends):
        return "", f"{names[ends[0]]} reaches exactly 100, the end of LeRobot's -100 to 100"
    over = np.flatnonzero(reach > limits)
    if len(over):
        place = int(over[0])
        return "", (
            f"{names[place]} reaches {reach[place]:.4g} within -100 to 100, more than its "
            f"{limits[place]:.0f} degrees"
        )
    if reach[most] <= 2 * math.pi:
        return "", f"no joint goes beyond {reach[most]:.3g}: radians, or an arm that hardly moves"
    return "", "all joints stay within -100 to 100, which fits LeRobot's old units and degrees"


def contradiction(
    lowest: np.ndarray, highest: np.ndarray, embodiment: Embodiment, units: str
) -> str:
    """Why the values, as in `recognise`, cannot be in these units; "" where they can."""
    reach = np.maximum(np.abs(lowest), np.abs(highest))
    for place, joint in enumerate(embodiment.joints):
        if joint.name in embodiment.gripper_joints:
            continue
        limit = np.rad2deg(max(abs(joint.lower_rad), abs(joint.upper_rad))) + _MARGIN_DEG
        if units == NORMALIZED:
            limit = _END + _EXACT
        elif units == RADIANS:
            limit = np.deg2rad(limit)
        if reach[place] > limit:
            return f"{joint.name} reaches {reach[place]:.4g}; expected at most {limit:.4g}"
    return ""
