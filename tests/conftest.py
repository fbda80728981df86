"""Isolation: each test process has its own ROS domain, log folder and field checking."""

import os
import tempfile
from pathlib import Path

# Before rclpy is imported anywhere. 101 is the highest domain that leaves room for the ports of all
# participants; the worker's process id spreads parallel test processes over the domains.
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ.setdefault("ROS_LOG_DIR", tempfile.mkdtemp(prefix="multismolvla_log_"))
os.environ["ROS_PYTHON_CHECK_FIELDS"] = "1"
# Test processes share the cores: threads of torch that wait for one another there cost a
# hundredfold.
os.environ["OMP_NUM_THREADS"] = "1"
# The profile that is shipped, for its shared memory: it says why.
os.environ["FASTRTPS_DEFAULT_PROFILES_FILE"] = str(
    Path(__file__).parents[1] / "config" / "fastdds.xml"
)
