"""Filters over message streams: the core of ROS 2 Jazzy's message_filters for Python."""

from .cache import Cache
from .simple_filter import SimpleFilter, Subscriber
from .synchronizers import ApproximateTimeSynchronizer, TimeSynchronizer

__all__ = ["ApproximateTimeSynchronizer", "Cache", "SimpleFilter", "Subscriber", "TimeSynchronizer"]


def __getattr__(name: str) -> None:
    text = f"{name} is not in this stand-in for message_filters; install ros-jazzy-message-filters"
    raise AttributeError(text) if name.startswith("_") else ImportError(text)
