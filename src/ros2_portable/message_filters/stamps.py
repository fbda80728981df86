"""When a message was made: its header stamp, or the moment of its arrival."""

from typing import Any

import rclpy.logging
from rclpy.clock import ROSClock
from rclpy.time import Time


def header_time(msg: Any) -> Time | None:
    """Return the header stamp, given as a message or as an rclpy Time; None without a header."""
    stamp = getattr(getattr(msg, "header", None), "stamp", None)
    if stamp is None or hasattr(stamp, "nanoseconds"):
        return stamp
    return Time.from_msg(stamp)


def message_time(msg: Any, allow_headerless: bool, logger_name: str) -> Time | None:
    """Return the header stamp, now without one if allowed, else None with a warning."""
    stamp = header_time(msg)
    if stamp is None and allow_headerless:
        return ROSClock().now()
    if stamp is None:
        rclpy.logging.get_logger(logger_name).warning(
            f"dropped a {type(msg).__name__}: it has no header.stamp; construct the filter with "
            "allow_headerless=True to use the time of arrival"
        )
    return stamp
