"""ROS domains of their own, as the tests of the stand-ins have, and what this project adds."""

import os
from pathlib import Path

from ros_isolation import ros_domain

__all__ = ["ros_domain"]

# Test processes share the cores: threads of torch that wait for one another there cost a
# hundredfold.
os.environ["OMP_NUM_THREADS"] = "1"
# The profile that is shipped, for its shared memory: it says why.
os.environ["FASTRTPS_DEFAULT_PROFILES_FILE"] = str(
    Path(__file__).parents[1] / "config" / "fastdds.xml"
)
