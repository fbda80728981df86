"""Conditions: whether an action is executed."""

from typing import Any

from .arguments import Arguments, Text
from .launch_context import LaunchContext
from .outside import outside
from .utilities import normalize_to_list_of_substitutions, perform_substitutions

__getattr__ = outside(__name__)


class InvalidConditionExpressionError(Exception):
    """The text of a condition is neither true nor false."""


class Condition(Arguments, method="evaluate"):
    """Wraps a function of the launch context that returns whether the condition holds."""

    def __init__(self, *, predicate: Any) -> None:
        self._predicate = predicate

    def evaluate(self, context: LaunchContext) -> bool:
        """Return whether the condition holds now."""
        return self._predicate(context)


class IfCondition(Condition):
    """Holds if the expression is true or 1; false and 0 are the other values it may have."""

    def evaluate(self, context: LaunchContext, predicate_expression: Text) -> bool:
        values = {"true": True, "1": True, "false": False, "0": False}
        if predicate_expression.strip().lower() not in values:
            raise InvalidConditionExpressionError(
                f"invalid condition expression, expected one of {', '.join(values)}, "
                f"got '{predicate_expression}'"
            )
        return values[predicate_expression.strip().lower()]


class UnlessCondition(IfCondition):
    """Holds if the expression is false."""

    def evaluate(self, context: LaunchContext) -> bool:
        return not super().evaluate(context)


class LaunchConfigurationEquals(Condition):
    """Holds if the launch configuration has this value; None: if it is not set. Deprecated."""

    def evaluate(
        self, context: LaunchContext, launch_configuration_name: str, expected_value: Any
    ) -> bool:
        value, expected = context.launch_configurations.get(launch_configuration_name), None
        if expected_value is not None:
            subs = normalize_to_list_of_substitutions(expected_value)
            expected = perform_substitutions(context, subs)
        return value == expected


class LaunchConfigurationNotEquals(LaunchConfigurationEquals):
    """Holds if the launch configuration has another value. Deprecated."""

    def evaluate(self, context: LaunchContext) -> bool:
        return not super().evaluate(context)
