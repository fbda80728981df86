"""The actions of launch_ros."""

from typing import Any

from launch import Action, LaunchContext
from launch.arguments import Text
from launch.outside import outside

from ..namespaces import prefix_namespace
from ..parameter_descriptions import check_file, evaluate_value
from .node import Node  # noqa: F401

__getattr__ = outside(__name__)


def _append(context: LaunchContext, name: str, item: Any) -> None:
    # A new list, so that the one of an outer scope stays as it is.
    context.launch_configurations[name] = [*context.launch_configurations.get(name, ()), item]


class PushRosNamespace(Action):
    """Put the nodes after it, in its scope, into a namespace."""

    def execute(self, context: LaunchContext, namespace: Text) -> None:
        outer = context.launch_configurations.get("ros_namespace")
        context.launch_configurations["ros_namespace"] = prefix_namespace(outer, namespace)


PushROSNamespace = PushRosNamespace


class SetRemap(Action):
    """Remap a name in the nodes after it, in its scope."""

    def execute(self, context: LaunchContext, src: Text, dst: Text) -> None:
        _append(context, "ros_remaps", (src, dst))


class SetParameter(Action):
    """Set a parameter of the nodes after it, in its scope."""

    def execute(self, context: LaunchContext, name: Text, value: Any) -> None:
        _append(context, "global_params", (name, evaluate_value(context, name, value)))


class SetUseSimTime(Action):
    """Set use_sim_time of the nodes after it, in its scope."""

    def execute(self, context: LaunchContext, value: Any) -> None:
        SetParameter("use_sim_time", value).execute(context)


class SetParametersFromFile(Action):
    """Set the parameters in a YAML file for the nodes after it, in its scope."""

    def execute(self, context: LaunchContext, filename: Text) -> None:
        check_file(filename)
        _append(context, "global_params", filename)
