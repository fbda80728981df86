"""QoS of images and what goes with them, as REP-2003 has it: offered reliably, taken best effort.

A reliable publisher serves both kinds of subscribers; a best-effort one sends nothing to a reliable
subscriber, which RViz, image viewers and most tutorials are. To those who take best effort, as this
stack does, it costs nothing: there is no acknowledgement and no repetition.
"""

from __future__ import annotations

from rclpy.qos import QoSProfile


def offered() -> QoSProfile:
    """The QoS of a publisher; a new one, for rclpy writes overrides into it."""
    return QoSProfile(depth=5)
