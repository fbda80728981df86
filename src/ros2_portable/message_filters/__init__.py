"""Filters over message streams: the Python interface of ROS 2 Jazzy's message_filters.

Stand-in for `ros-jazzy-message-filters`, for machines where ROS comes from PyPI wheels.
"""

from .cache import Cache
from .chain import Chain
from .delta_filter import DeltaFilter, PathDeltaFilter
from .input_aligner import InputAligner
from .simple_filter import SimpleFilter
from .subscriber import Subscriber
from .synchronizers import ApproximateTimeSynchronizer, TimeSynchronizer

__all__ = [
    "ApproximateTimeSynchronizer",
    "Cache",
    "Chain",
    "DeltaFilter",
    "InputAligner",
    "PathDeltaFilter",
    "SimpleFilter",
    "Subscriber",
    "TimeSynchronizer",
]
