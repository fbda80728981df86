"""Substitutions that find ROS packages and their executables through the ament index."""

import os
import shutil

from ament_index_python.packages import get_package_prefix
from launch import LaunchContext, Substitution
from launch.arguments import Text
from launch.outside import outside
from launch.substitutions import SubstitutionFailure

__getattr__ = outside(__name__)


class FindPackagePrefix(Substitution):
    """The prefix in which a package is installed."""

    def perform(self, context: LaunchContext, package: Text) -> str:
        return get_package_prefix(package)


class FindPackageShare(Substitution):
    """The share directory of a package."""

    def perform(self, context: LaunchContext, package: Text) -> str:
        return os.path.join(get_package_prefix(package), "share", package)


class ExecutableInPackage(Substitution):
    """The path of an executable of a package."""

    label = "ExecInPkg"

    def perform(self, context: LaunchContext, executable: Text, package: Text) -> str:
        folder = os.path.join(get_package_prefix(package), "lib", package)
        path = shutil.which(executable, path=folder)
        if path is None:
            raise SubstitutionFailure(
                f"executable '{executable}' not found on the libexec directory '{folder}'"
            )
        return path
