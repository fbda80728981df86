"""The actions of launch_ros: nodes, and what the nodes after them share."""

import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml
from launch.entities import Action
from launch.execute_process import ExecuteProcess
from launch.launch_context import LaunchContext
from launch.logging import get_logger
from launch.substitutions import Text, as_text

from ros2_portable import outside

from .parameter_descriptions import check_file, evaluate_dictionary, evaluate_value
from .substitutions import ExecutableInPackage

__getattr__ = outside(__name__)


def _append(context: LaunchContext, name: str, item: Any) -> None:
    # A new list, so that the one of an outer scope stays as it is.
    context.launch_configurations[name] = [*context.launch_configurations.get(name, ()), item]


@dataclass(eq=False)
class PushRosNamespace(Action):
    """Put the nodes after it, in its scope, into a namespace."""

    namespace: Text

    def execute(self, context: LaunchContext) -> None:
        shared = context.launch_configurations
        shared["ros_namespace"] = _inside(shared.get("ros_namespace"), context, self.namespace)


PushROSNamespace = PushRosNamespace


@dataclass(eq=False)
class SetRemap(Action):
    """Remap a name in the nodes after it, in its scope."""

    src: Text
    dst: Text

    def execute(self, context: LaunchContext) -> None:
        _append(context, "ros_remaps", (as_text(context, self.src), as_text(context, self.dst)))


@dataclass(eq=False)
class SetParameter(Action):
    """Set a parameter of the nodes after it, in its scope."""

    name: Text
    value: Any

    def execute(self, context: LaunchContext) -> None:
        name = as_text(context, self.name)
        _append(context, "global_params", (name, evaluate_value(context, name, self.value)))


class Node(ExecuteProcess):
    """Runs an executable with a node's name, namespace, parameters and remappings.

    Precedence, as in upstream: SetParameter, then `parameters` in their order; parameters of a
    fully qualified node name win over wildcards.
    """

    def __init__(
        self,
        *,
        executable: Text,
        package: Text | None = None,
        name: Text | None = None,
        namespace: Text | None = None,
        exec_name: Text | None = None,
        parameters: Iterable[Mapping[Any, Any] | Text] | None = None,
        remappings: Iterable[tuple[Text, Text]] | None = None,
        arguments: Iterable[Text] | None = None,
        **options: Any,
    ) -> None:
        program = executable if package is None else ExecutableInPackage(executable, package)
        super().__init__(cmd=[program, *(arguments or ())], name=exec_name, **options)
        self._node_name, self._node_namespace = name, namespace
        self._parameters, self._remappings = parameters or (), remappings or ()

    def execute(self, context: LaunchContext) -> None:
        shared, words = context.launch_configurations, ["--ros-args"]
        name = None if self._node_name is None else as_text(context, self._node_name)
        if name is not None:
            if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
                raise ValueError(f"invalid node name '{name}': expected letters, digits and _")
            words += ["-r", f"__node:={name}"]
        namespace = _inside(shared.get("ros_namespace"), context, self._node_namespace)
        if namespace is not None:
            words += ["-r", f"__ns:={namespace}"]
        self.node_name = f"{(namespace or '').rstrip('/')}/{name or '<node_name_unspecified>'}"
        for key, value in shared.get("global_params", ()):
            words += ["-p", f"{key}:={value}"]
        target = "/**" if name is None or namespace is None else self.node_name
        for item in self._parameters:
            if isinstance(item, Mapping):
                path = _write_file(
                    {target: {"ros__parameters": evaluate_dictionary(context, item)}}
                )
            else:
                path = as_text(context, item)
                if not os.path.isfile(path):
                    get_logger().warning(f"Parameter file path is not a file: {path}")
                    continue
                check_file(path)
            words += ["--params-file", path]
        own = [(as_text(context, src), as_text(context, dst)) for src, dst in self._remappings]
        for src, dst in [*shared.get("ros_remaps", ()), *own]:
            words += ["-r", f"{src}:={dst}"]
        self.cmd += words
        super().execute(context)


@cache
def _folder() -> tempfile.TemporaryDirectory:
    """The folder of parameter files, removed when the launch ends."""
    return tempfile.TemporaryDirectory(prefix="launch_params_")


def _write_file(parameters: dict[str, Any]) -> str:
    descriptor, path = tempfile.mkstemp(suffix=".yaml", dir=_folder().name)
    with os.fdopen(descriptor, "w") as file:
        yaml.safe_dump(parameters, file)
    return path


def _inside(base: str | None, context: LaunchContext, namespace: Text | None) -> str | None:
    """Return the absolute namespace of `namespace` in `base`, None if neither is given."""
    if namespace is None:
        return base
    text = as_text(context, namespace)
    parts = [text] if text.startswith("/") or not base else [base, text]
    absolute = "/" + "/".join(part.strip("/") for part in parts).strip("/")
    if not re.fullmatch(r"/|(/[A-Za-z_]\w*)+", absolute, re.ASCII):
        raise ValueError(f"invalid namespace '{absolute}': expected names of letters, digits and _")
    return absolute
