"""The SO-101: five joints and a gripper.

Joint names follow the convention shared by LeRobot and the robot's URDF. The limits are those of
`so101_new_calib.urdf` (TheRobotStudio/SO-ARM100, Apache-2.0); zero is the middle of each joint's
travel in that calibration, except for the gripper, whose zero is nearly closed. Lengths are those
of `sim/assets/so101.xml`, which names their source.
"""

from __future__ import annotations

from multismolvla.embodiment.description import Embodiment, Gripper, Joint
from multismolvla.embodiment.pan_pitch_arm import PanPitchArm

KINEMATICS = PanPitchArm(
    pan_x=0.0388353,
    lift=(0.0303992, 0.1166),
    upper_arm=(0.028, 0.11257),
    lower_arm=(0.1349, 0.0052),
    gripper_length=0.0611 + 0.0881,
    # The calibration's zero of wrist_roll leaves the gripper turned by this much.
    roll_twist=0.0486797,
)

SPEED_RAD_S, ACCELERATION_RAD_S2 = 3.0, 30.0


def _joint(name: str, lower_rad: float, upper_rad: float, home_rad: float) -> Joint:
    return Joint(name, lower_rad, upper_rad, SPEED_RAD_S, ACCELERATION_RAD_S2, home_rad)


# Home is folded, so that the top camera sees the table.
SO101 = Embodiment(
    name="so101",
    joints=(
        _joint("shoulder_pan", -1.91986, 1.91986, 0.0),
        _joint("shoulder_lift", -1.74533, 1.74533, -1.3),
        _joint("elbow_flex", -1.69, 1.69, 0.8),
        _joint("wrist_flex", -1.65806, 1.65806, 1.5),
        _joint("wrist_roll", -2.74385, 2.84121, 0.05),
        _joint("gripper", -0.174533, 1.74533, 0.4),
    ),
    grippers=(Gripper("gripper", closed_rad=-0.174533, open_rad=1.74533),),
    kinematics=KINEMATICS,
    views=("", "wrist"),
)
