"""Stamps of messages as integers."""

from __future__ import annotations

from builtin_interfaces.msg import Time


def stamp_ns(stamp: Time) -> int:
    """Return a stamp in nanoseconds; negative for one before the epoch.

    `rclpy.time.Time.from_msg` raises for those, and a message must not end a node.
    """
    return stamp.sec * 10**9 + stamp.nanosec
