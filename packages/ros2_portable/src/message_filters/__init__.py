"""Filters over message streams: the core of ROS 2 Jazzy's message_filters for Python."""

from ros2_portable import outside

from .filters import Cache, SimpleFilter, Subscriber
from .synchronizers import ApproximateTimeSynchronizer, TimeSynchronizer

__all__ = ["ApproximateTimeSynchronizer", "Cache", "SimpleFilter", "Subscriber", "TimeSynchronizer"]
__getattr__ = outside(__name__)
