"""Node: a process that is a ROS node."""

import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import yaml
from launch import LaunchContext
from launch.actions import ExecuteProcess
from launch.arguments import Text
from launch.logging import get_logger
from launch.utilities import normalize_to_list_of_substitutions, perform_substitutions

from ..namespaces import prefix_namespace
from ..parameter_descriptions import ParameterFile, check_file, evaluate_dictionary
from ..substitutions import ExecutableInPackage

_started: Counter[str] = Counter()


@cache
def _folder() -> tempfile.TemporaryDirectory:
    """The folder of parameter files, removed when the launch ends."""
    return tempfile.TemporaryDirectory(prefix="launch_params_")


class Node(ExecuteProcess):
    """Runs an executable with a node's name, namespace, parameters and remappings.

    Precedence, as in upstream: SetParameter and SetParametersFromFile, then `parameters` in their
    order; parameters of a fully qualified node name win over wildcards.
    """

    def __init__(
        self,
        *,
        executable: Text,
        package: Text | None = None,
        name: Text | None = None,
        namespace: Text | None = None,
        exec_name: Text | None = None,
        parameters: Iterable[Any] = (),
        remappings: Iterable[tuple[Text, Text]] = (),
        ros_arguments: Iterable[Text] = (),
        arguments: Iterable[Text] = (),
        **options: Any,
    ) -> None:
        program = executable if package is None else ExecutableInPackage(executable, package)
        ros_arguments = list(ros_arguments or ())
        cmd = [program, *(arguments or ())] + ["--ros-args"] * bool(ros_arguments) + ros_arguments
        super().__init__(cmd=[*cmd, "--ros-args"], name=exec_name, **options)
        self._node_name, self._node_namespace = name, namespace
        self._parameters, self._remappings = list(parameters or ()), list(remappings or ())

    def execute(self, context: LaunchContext) -> None:
        def text(subs: Text | None) -> str | None:
            if subs is None:
                return None
            return perform_substitutions(context, normalize_to_list_of_substitutions(subs))

        shared, name = context.launch_configurations, text(self._node_name)
        if name is not None and not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
            raise ValueError(f"invalid node name '{name}': expected letters, digits and _")
        namespace = prefix_namespace(shared.get("ros_namespace"), text(self._node_namespace))
        known = name is not None and namespace is not None
        self.node_name = f"{(namespace or '').rstrip('/')}/{name or '<node_name_unspecified>'}"
        words = [] if name is None else ["-r", f"__node:={name}"]
        words += [] if namespace is None else ["-r", f"__ns:={namespace}"]
        for item in shared.get("global_params", ()):
            is_pair = isinstance(item, tuple)
            words += ["-p", f"{item[0]}:={item[1]}"] if is_pair else ["--params-file", item]
        for item in self._parameters:
            if isinstance(item, Mapping):
                key, values = self.node_name if known else "/**", evaluate_dictionary(context, item)
                descriptor, path = tempfile.mkstemp(suffix=".yaml", dir=_folder().name)
                with os.fdopen(descriptor, "w") as file:
                    yaml.safe_dump({key: {"ros__parameters": values}}, file)
            else:
                path = text(item.param_file if isinstance(item, ParameterFile) else item)
                if not os.path.isfile(path):
                    get_logger("launch").warning(f"Parameter file path is not a file: {path}")
                    continue
                check_file(path)
            words += ["--params-file", path]
        remaps = [(text(src), text(dst)) for src, dst in self._remappings]
        for src, dst in [*shared.get("ros_remaps", ()), *remaps]:
            words += ["-r", f"{src}:={dst}"]
        self.cmd += words
        super().execute(context)
        _started[self.node_name] += known
        if _started[self.node_name] > 1:
            get_logger(self.final_name).warning(
                f"there are now at least {_started[self.node_name]} nodes with the name "
                f"{self.node_name} created within this launch context"
            )
