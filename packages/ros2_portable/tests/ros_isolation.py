"""Isolation: each test file has its own ROS domain, each process its own log folder.

Imported by a conftest before anything imports rclpy.
"""

import fcntl
import gc
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes, or is drawn, depends on how busy the machine is.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ.setdefault("ROS_LOG_DIR", tempfile.mkdtemp(prefix="ros_test_log_"))
os.environ["ROS_PYTHON_CHECK_FIELDS"] = "1"

# Domain 101 is the highest that leaves room for the ports of all participants.
DOMAINS = range(1, 102)
# One folder for all checkouts and packages of a user: their tests share the machine's domains.
LOCKS = Path(tempfile.gettempdir()) / f"ros_test_domains_{os.getuid()}"


@pytest.fixture(scope="module", autouse=True)
def ros_domain() -> Iterator[int]:
    """The domain that was left longest ago, and that no test process on this machine is using.

    A killed process stays in the graph of its domain for some twenty seconds, where the next test
    would find it.
    """
    LOCKS.mkdir(exist_ok=True)
    files = [LOCKS / str(domain) for domain in DOMAINS]
    for file in sorted(files, key=lambda file: file.stat().st_mtime_ns if file.exists() else 0):
        with file.open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            os.environ["ROS_DOMAIN_ID"] = file.name
            os.utime(file)
            yield int(file.name)
            # What a file leaves behind goes now, not in the middle of another file's test.
            gc.collect()
            os.utime(file)
            return
    pytest.fail(f"all ROS domains are in use by other tests, by the locks in {LOCKS}")
