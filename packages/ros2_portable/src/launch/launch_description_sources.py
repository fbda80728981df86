"""Launch descriptions from Python launch files."""

import runpy
import traceback

from ros2_portable import explain, outside

from .entities import LaunchDescription
from .launch_context import LaunchContext
from .substitutions import Text, as_text

__getattr__ = outside(__name__)


# Pure-Python packages beside these that launch files of others import.
_ELSEWHERE = {"launch_pytest", "launch_testing", "launch_xml", "launch_yaml"}
_ELSEWHERE |= {"launch_testing_ros", "nav2_common", "rosbag2_py", "tf2_ros"}


class InvalidLaunchFileError(Exception):
    """A launch file cannot be read; the message says which, where and why."""


class LaunchDescriptionSource:
    """A launch description in a Python launch file."""

    def __init__(self, launch_file_path: Text) -> None:
        self._path = launch_file_path

    def get_launch_description(self, context: LaunchContext) -> LaunchDescription:
        """Run the launch file's `generate_launch_description`.

        Raises:
            InvalidLaunchFileError: it is not Python, raises, or lacks that function.
        """
        path = as_text(context, self._path)
        if path.endswith((".xml", ".yaml", ".yml")):
            raise InvalidLaunchFileError(f"launch file '{path}': {explain('launch.frontend')}")
        try:
            return runpy.run_path(path)["generate_launch_description"]()
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)
            lines = [f", line {frame.lineno}" for frame in frames if frame.filename == path]
            where = f"launch file '{path}'{lines[-1] if lines else ''}"
            raise InvalidLaunchFileError(f"{where}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    name = getattr(error, "name", None) or ""
    if isinstance(error, ModuleNotFoundError) and (
        name.startswith(("launch.", "launch_ros.")) or name.partition(".")[0] in _ELSEWHERE
    ):
        return explain(name)
    foreign = isinstance(error, TypeError) and "unexpected keyword argument" in str(error)
    hint = (
        "; what ros2_portable lacks is in launch and launch_ros of ROS 2 Jazzy" if foreign else ""
    )
    return f"{type(error).__name__}: {error}{hint}"


PythonLaunchDescriptionSource = LaunchDescriptionSource
