"""One clear line for every upstream name that these stand-ins leave out."""

import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any


def explain(name: str) -> str:
    """Return the line that says where to get `name`, such as launch.frontend."""
    package = name.partition(".")[0]
    return f"{name} is not part of ros2_portable; it needs the package {package} of ROS 2 Jazzy"


def outside(module: str) -> Callable[[str], Any]:
    """Return the module-level `__getattr__` of `module`.

    It raises ImportError, which, unlike AttributeError, `from module import name` shows as it is.
    """

    def missing(name: str) -> Any:
        is_package = "__path__" in vars(sys.modules[module])
        if name.startswith("_") or (is_package and find_spec(f"{module}.{name}")):
            raise AttributeError(name)
        raise ImportError(explain(f"{module}.{name}"))

    return missing
