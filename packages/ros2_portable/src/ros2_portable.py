"""One clear line for every upstream name that these stand-ins leave out."""

from collections.abc import Callable
from typing import Any


def explain(name: str) -> str:
    """Return the line that says where to get `name`, such as launch.frontend."""
    package = name.partition(".")[0]
    return f"{name} is not part of ros2_portable; it needs the package {package} of ROS 2 Jazzy"


def outside(module: str) -> Callable[[str], Any]:
    """Return the module's `__getattr__`, to be set where all its own names are there.

    It raises ImportError, which, unlike AttributeError, `from module import name` shows as it is.
    """

    def missing(name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise ImportError(explain(f"{module}.{name}"))

    return missing
