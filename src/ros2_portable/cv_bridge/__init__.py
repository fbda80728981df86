"""Images as messages and as numpy arrays: the Python interface of ROS 2 Jazzy's cv_bridge."""

from .conversion import cvtColorForDisplay
from .core import CvBridge
from .encodings import CvBridgeError, getCvType

__all__ = ["CvBridge", "CvBridgeError", "cvtColorForDisplay", "getCvType"]
