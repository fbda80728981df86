"""The SO-101 as every part of the stack names it: joints, limits and speeds, in radians.

Joint names follow the SO-101 convention shared by LeRobot and the robot's URDF. The limits are
those of `so101_new_calib.urdf` (TheRobotStudio/SO-ARM100, Apache-2.0); zero is the middle of each
joint's travel in that calibration, except for the gripper, whose zero is nearly closed.
"""

from __future__ import annotations

import numpy as np

JOINT_NAMES: tuple[str, ...] = (
    "shoulder_pan",
    "shoulder_lift",
    "elbow_flex",
    "wrist_flex",
    "wrist_roll",
    "gripper",
)

JOINT_LOWER_RAD = np.array([-1.91986, -1.74533, -1.69, -1.65806, -2.74385, -0.174533])
JOINT_UPPER_RAD = np.array([1.91986, 1.74533, 1.69, 1.65806, 2.84121, 1.74533])

# The pose every episode starts from: arm folded, so that the top camera sees the table.
HOME_RAD = np.array([0.0, -1.3, 0.8, 1.5, 0.05, 0.4])
