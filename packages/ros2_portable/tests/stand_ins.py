"""Which of the packages under test are the stand-ins on this machine, and which a real ROS 2's."""

from collections.abc import Callable
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

NAMES = ("cv_bridge", "launch", "launch_ros", "message_filters", "ros2cli")


def _folder(spec: ModuleSpec | None) -> Path | None:
    """The folder that a module or a package lies in; None where it is absent."""
    if spec is None or spec.origin is None:  # A folder of that name without __init__.py.
        return None
    path = Path(spec.origin).resolve()
    is_package = spec.submodule_search_locations is not None
    return path.parents[1] if is_package else path.parent


def foreign(find: Callable[[str], ModuleSpec | None] = find_spec) -> list[str]:
    """The names that are not the stand-ins: upstream's packages, or absent.

    Both may be there, as where a ROS 2 is sourced over an environment that has the stand-ins; then
    the path decides, which need not be the same for each name.
    """
    home = _folder(find("ros2_portable"))
    return [name for name in NAMES if home is None or _folder(find(name)) != home]
