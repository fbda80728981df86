"""The SO-101's joints, for parts that are not handed an `Embodiment` yet."""

from multismolvla.embodiment.so101 import SO101

JOINT_NAMES = SO101.joint_names
JOINT_LOWER_RAD, JOINT_UPPER_RAD = SO101.lower_rad, SO101.upper_rad
HOME_RAD = SO101.home_rad
