"""Substitutions that find ROS packages and their executables through the ament index."""

import os
import shutil
from dataclasses import dataclass

from ament_index_python.packages import get_package_prefix
from launch.launch_context import LaunchContext
from launch.substitutions import Substitution, SubstitutionFailure, Text, as_text

from ros2_portable import outside

__getattr__ = outside(__name__)


@dataclass(eq=False)
class FindPackageShare(Substitution):
    """The share directory of a package."""

    package: Text

    def perform(self, context: LaunchContext) -> str:
        package = as_text(context, self.package)
        return os.path.join(get_package_prefix(package), "share", package)


@dataclass(eq=False)
class ExecutableInPackage(Substitution):
    """The path of an executable of a package."""

    executable: Text
    package: Text

    def perform(self, context: LaunchContext) -> str:
        executable, package = as_text(context, self.executable), as_text(context, self.package)
        folder = os.path.join(get_package_prefix(package), "lib", package)
        path = shutil.which(executable, path=folder)
        if path is None:
            raise SubstitutionFailure(
                f"executable '{executable}' not found on the libexec directory '{folder}'"
            )
        return path
