"""One clear line for every upstream name that these stand-ins leave out."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any


def outside(module: str) -> Callable[[str], Any]:
    """Return the module-level `__getattr__` of `module`.

    It raises ImportError, which, unlike AttributeError, `from module import name` shows as it is.
    """
    package = module.partition(".")[0]

    def missing(name: str) -> Any:
        if name.startswith("__") or package in name or find_spec(f"{module}.{name}"):
            raise AttributeError(name)
        raise ImportError(
            f"{module}.{name} is not part of ros2_portable; "
            f"it needs the package {package} of ROS 2 Jazzy"
        )

    return missing
