"""Conditions: whether an action is executed."""

from collections.abc import Callable

from .arguments import Arguments, Text
from .launch_context import LaunchContext
from .outside import outside

__getattr__ = outside(__name__)


class InvalidConditionExpressionError(Exception):
    """The text of a condition is neither true nor false."""


class Condition(Arguments, method="evaluate"):
    """Wraps a function of the launch context that returns whether the condition holds."""

    def __init__(self, *, predicate: Callable[[LaunchContext], bool]) -> None:
        self._predicate = predicate

    def evaluate(self, context: LaunchContext) -> bool:
        """Return whether the condition holds now."""
        return self._predicate(context)


def _read(expression: str) -> bool:
    values = {"true": True, "1": True, "false": False, "0": False}
    if expression.strip().lower() not in values:
        raise InvalidConditionExpressionError(
            f"invalid condition expression, expected one of {', '.join(values)}, got '{expression}'"
        )
    return values[expression.strip().lower()]


@Condition.from_function
def IfCondition(self, context, predicate_expression: Text) -> bool:
    """Holds if the expression is true or 1."""
    return _read(predicate_expression)


@Condition.from_function
def UnlessCondition(self, context, predicate_expression: Text) -> bool:
    """Holds if the expression is false or 0."""
    return not _read(predicate_expression)


@Condition.from_function
def LaunchConfigurationEquals(self, context, launch_configuration_name, expected_value: Text):
    """Holds if the launch configuration has this value; None: if it is not set. Deprecated."""
    return context.launch_configurations.get(launch_configuration_name) == expected_value


@Condition.from_function
def LaunchConfigurationNotEquals(self, context, launch_configuration_name, expected_value: Text):
    """Holds if the launch configuration has another value. Deprecated."""
    return context.launch_configurations.get(launch_configuration_name) != expected_value
