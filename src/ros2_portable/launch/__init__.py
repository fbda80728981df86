"""The part of ROS 2's launch that this project uses, with upstream's names and behaviour."""

from . import actions, conditions, event_handlers, events, logging, substitutions  # noqa: F401
from .action import Action, LaunchDescriptionEntity  # noqa: F401
from .conditions import Condition  # noqa: F401
from .event_handlers import EventHandler  # noqa: F401
from .events import Event  # noqa: F401
from .launch_context import LaunchContext  # noqa: F401
from .launch_description import LaunchDescription  # noqa: F401
from .launch_description_sources import LaunchDescriptionSource  # noqa: F401
from .launch_service import LaunchService  # noqa: F401
from .outside import outside
from .some_substitutions_type import SomeSubstitutionsType  # noqa: F401
from .substitution import Substitution  # noqa: F401

__getattr__ = outside(__name__)
