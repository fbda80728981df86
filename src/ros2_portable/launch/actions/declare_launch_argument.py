"""DeclareLaunchArgument: an argument of a launch file."""

from collections.abc import Sequence
from typing import Any

from ..action import Action
from ..arguments import Text
from ..launch_context import LaunchContext
from ..utilities import normalize_to_list_of_substitutions, perform_substitutions


class DeclareLaunchArgument(Action):
    """Puts the argument's value into the launch configuration of its name.

    Raises, when executed:
        RuntimeError: it is not given and has no default, or its value is not among the choices.
    """

    def __init__(
        self,
        name: str,
        *,
        default_value: Text | None = None,
        description: str = "",
        choices: Sequence[str] | None = None,
        condition: Any = None,
    ) -> None:
        super().__init__(condition=condition)
        self.name, self.choices, self._conditionally_included = name, choices, False
        given = default_value is not None
        self.default_value = normalize_to_list_of_substitutions(default_value) if given else None
        if choices and isinstance(default_value, str) and default_value not in choices:
            raise RuntimeError(
                f'Provided default_value "{default_value}" of argument "{name}" is not in '
                f'provided choices "{choices}".'
            )
        self.description = description or "no description given"
        if choices:
            stop = "" if description.endswith(".") else "."
            about = f"{description}{stop} Valid choices are: " if description else "One of: "
            self.description = f"{about}{choices}"

    def execute(self, context: LaunchContext) -> None:
        values = context.launch_configurations
        if self.name not in values:
            if self.default_value is None:
                raise RuntimeError(f'Required launch argument "{self.name}" was not provided.')
            values[self.name] = perform_substitutions(context, self.default_value)
        if self.choices and values[self.name] not in self.choices:
            raise RuntimeError(
                f'Argument "{self.name}" provided value "{values[self.name]}" is not valid. '
                f"Valid options are: {self.choices}"
            )
