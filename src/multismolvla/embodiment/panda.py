"""The Franka Panda with robosuite's gripper, as LIBERO has it: commanded by steps of the gripper.

States and actions are those that the field's policies get from LIBERO, in the world's frame of its
scenes. States have the names of the LeRobot data sets of LIBERO where these are unique: there both
fingers are `gripper`, and an action's numbers are called as a state's.

Joint limits are those of robosuite's `panda/robot.xml`, which are Franka's. Speeds and
accelerations are the joint limits in 'Robot and interface specifications' of Franka's FCI
documentation; LIBERO's controller moves the joints, so nothing here commands them. The pose at home
is that of LIBERO's `MountedPanda`.
"""

from __future__ import annotations

from multismolvla.embodiment.description import (
    END_EFFECTOR_DELTAS,
    ActionSpace,
    Embodiment,
    Joint,
    LeRobotNames,
)
from multismolvla.embodiment.kinematics import StatedPose

# LIBERO takes an action every 50 ms.
PERIOD_S = 0.05

# The hand's z points out of it, and its fingers move along its x. The base stands somewhere else in
# each kind of scene, at x from -0.75 to -0.6 m: this is the place on most tables.
KINEMATICS = StatedPose(
    hand=((0.0, 0.0, 1.0), (0.0, -1.0, 0.0), (1.0, 0.0, 0.0)),
    axis_m=(-0.66, 0.0),
    # Tables are up to 0.9 m high; there is one scene on the floor.
    centre_m=(0.0, 0.0, 0.5),
)

# A step of 1 is 5 cm or 0.5 rad about the world's axes; the gripper opens at -1 and closes at 1.
ACTION = ActionSpace(
    END_EFFECTOR_DELTAS,
    names=("dx", "dy", "dz", "drx", "dry", "drz", "gripper"),
    lower=(-1.0,) * 7,
    upper=(1.0,) * 7,
    period_s=PERIOD_S,
    kept=("gripper",),
)

_POSE = ("x", "y", "z", "axis_angle1", "axis_angle2", "axis_angle3")

# As in `HuggingFaceVLA/libero` and LeRobot's `envs/libero.py`.
LEROBOT = LeRobotNames(
    robot_type="panda",
    state=(*_POSE, "gripper", "gripper"),
    action=(*_POSE, "gripper"),
    cameras=(("agentview/rgb", "image"), ("wrist/rgb", "image2")),
)

PANDA = Embodiment(
    name="panda",
    joints=(
        Joint("joint1", -2.8973, 2.8973, 2.175, 15.0, 0.0),
        Joint("joint2", -1.7628, 1.7628, 2.175, 7.5, -0.161037389),
        Joint("joint3", -2.8973, 2.8973, 2.175, 10.0, 0.0),
        Joint("joint4", -3.0718, -0.0698, 2.175, 12.5, -2.44459747),
        Joint("joint5", -2.8973, 2.8973, 2.61, 15.0, 0.0),
        Joint("joint6", -0.0175, 3.7525, 2.61, 20.0, 2.2267522),
        Joint("joint7", -2.8973, 2.8973, 2.61, 20.0, 0.785398163),
    ),
    kinematics=KINEMATICS,
    action=ACTION,
    state=(*_POSE, "finger1", "finger2"),
    views=("agentview", "wrist"),
    lerobot=LEROBOT,
)
