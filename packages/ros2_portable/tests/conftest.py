"""The tests of the stand-ins run in ROS domains of their own, and only where they are installed."""

from importlib.util import find_spec

from ros_isolation import ros_domain

__all__ = ["ros_domain"]

# Beside a real ROS 2 the same import names are upstream's, which have tests of their own.
collect_ignore_glob = [] if find_spec("ros2_portable") else ["test_*.py"]
