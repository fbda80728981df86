"""The tests of the stand-ins run in ROS domains of their own, and only where they are installed."""

from ros_isolation import ros_domain
from stand_ins import foreign

__all__ = ["ros_domain"]

# Beside a real ROS 2 the same import names are upstream's, which have tests of their own.
collect_ignore_glob = ["test_*.py"] if foreign() else []
