"""The part of ROS 2's launch_ros that this project uses, with upstream's names and behaviour."""

from ros2_portable import outside

from . import actions, parameter_descriptions, substitutions

__all__ = ["actions", "parameter_descriptions", "substitutions"]
__getattr__ = outside(__name__)
