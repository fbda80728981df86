"""Launch descriptions from Python launch files."""

import traceback
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader

from .arguments import Text
from .launch_context import LaunchContext
from .launch_description import LaunchDescription
from .outside import explain, outside
from .utilities import normalize_to_list_of_substitutions, perform_substitutions

__getattr__ = outside(__name__)


class InvalidLaunchFileError(Exception):
    """A launch file cannot be read; the message says which, where and why."""


class LaunchDescriptionSource:
    """A launch description in a Python launch file."""

    def __init__(self, launch_file_path: Text) -> None:
        self._path = normalize_to_list_of_substitutions(launch_file_path)

    def path(self, context: LaunchContext) -> str:
        """Return the path of the launch file."""
        return perform_substitutions(context, self._path)

    def get_launch_description(self, context: LaunchContext) -> LaunchDescription:
        """Run the launch file's `generate_launch_description`.

        Raises:
            InvalidLaunchFileError: it is not Python, raises, or lacks that function.
        """
        path = self.path(context)
        file_format = path.rpartition(".")[2]
        if file_format in ("xml", "yaml", "yml"):
            reader = "launch_xml" if file_format == "xml" else "launch_yaml"
            raise InvalidLaunchFileError(f"launch file '{path}': {explain(f'{reader}.Parser')}")
        loader = SourceFileLoader("python_launch_file", path)
        module = module_from_spec(spec_from_loader(loader.name, loader))
        try:
            loader.exec_module(module)
            return module.generate_launch_description()
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)
            lines = [f", line {frame.lineno}" for frame in frames if frame.filename == path]
            text = f"{type(error).__name__}: {error}"
            name = getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None
            if name and name.startswith(("launch.", "launch_ros.")):
                text = explain(name)
            where = f"launch file '{path}'{lines[-1] if lines else ''}"
            raise InvalidLaunchFileError(f"{where}: {text}") from error


PythonLaunchDescriptionSource = AnyLaunchDescriptionSource = LaunchDescriptionSource
