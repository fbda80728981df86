"""Launch descriptions from Python launch files."""

import traceback
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader

from .arguments import Text
from .launch_context import LaunchContext
from .launch_description import LaunchDescription
from .outside import outside
from .utilities import normalize_to_list_of_substitutions, perform_substitutions

__getattr__ = outside(__name__)


class InvalidLaunchFileError(Exception):
    """A launch file cannot be read; the message says which, where and why."""


def get_launch_description_from_python_launch_file(launch_file_path: str) -> LaunchDescription:
    """Run the launch file's `generate_launch_description`.

    Raises:
        InvalidLaunchFileError: it is not Python, raises, or lacks that function.
    """
    if launch_file_path.endswith((".xml", ".yaml", ".yml")):
        raise InvalidLaunchFileError(
            f"launch file '{launch_file_path}': ros2_portable reads Python launch files; "
            "others need the packages launch_xml and launch_yaml of ROS 2 Jazzy"
        )
    loader = SourceFileLoader("python_launch_file", launch_file_path)
    module = module_from_spec(spec_from_loader(loader.name, loader))
    try:
        loader.exec_module(module)
        return module.generate_launch_description()
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == launch_file_path]
        where = f", line {lines[-1]}" if lines else ""
        raise InvalidLaunchFileError(
            f"launch file '{launch_file_path}'{where}: {type(error).__name__}: {error}"
        ) from error


class LaunchDescriptionSource:
    """A launch description in a Python launch file."""

    def __init__(self, launch_file_path: Text) -> None:
        self._path = normalize_to_list_of_substitutions(launch_file_path)

    def path(self, context: LaunchContext) -> str:
        """Return the path of the launch file."""
        return perform_substitutions(context, self._path)

    def get_launch_description(self, context: LaunchContext) -> LaunchDescription:
        """Load the launch file."""
        return get_launch_description_from_python_launch_file(self.path(context))


PythonLaunchDescriptionSource = AnyLaunchDescriptionSource = LaunchDescriptionSource
