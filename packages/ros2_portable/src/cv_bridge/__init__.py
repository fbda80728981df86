"""Images as messages and as numpy arrays: the Python interface of ROS 2 Jazzy's cv_bridge."""

from ros2_portable import outside

from .bridge import CvBridge
from .conversion import CvBridgeError, cvtColorForDisplay

__all__ = ["CvBridge", "CvBridgeError", "cvtColorForDisplay"]
__getattr__ = outside(__name__)
