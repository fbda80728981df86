"""Conversion between sensor_msgs images and numpy images: the Python interface of cv_bridge.

Stand-in for `ros-jazzy-cv-bridge`, for machines where ROS comes from PyPI wheels.
"""

from .conversion import cvtColorForDisplay
from .core import CvBridge, CvBridgeError
from .encodings import getCvType

__all__ = ["CvBridge", "CvBridgeError", "cvtColorForDisplay", "getCvType"]
