"""The part of ROS 2's launch that this project uses, with upstream's names and behaviour."""

from ros2_portable import outside

from . import actions, conditions, event_handlers, logging, substitutions  # noqa: F401
from .entities import Action, LaunchDescription, LaunchDescriptionEntity  # noqa: F401
from .launch_context import LaunchContext  # noqa: F401
from .launch_description_sources import LaunchDescriptionSource  # noqa: F401
from .launch_service import LaunchService  # noqa: F401
from .substitutions import Substitution  # noqa: F401

__getattr__ = outside(__name__)
