"""The part of ROS 2's launch_ros that this project uses, with upstream's names and behaviour."""

from launch.outside import outside

from . import actions, parameter_descriptions, substitutions  # noqa: F401

__getattr__ = outside(__name__)
