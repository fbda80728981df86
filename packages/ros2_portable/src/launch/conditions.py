"""Conditions: whether an action is executed."""

from dataclasses import dataclass

from ros2_portable import outside

from .launch_context import LaunchContext
from .substitutions import Text, as_text

__getattr__ = outside(__name__)
_TRUTHS = {"true": True, "1": True, "false": False, "0": False}


def is_true(context: LaunchContext, expression: Text | bool) -> bool:
    """Return the truth that a text stands for; ValueError if it stands for none."""
    text = as_text(context, expression)
    if text.strip().lower() not in _TRUTHS:
        expected = f"expected one of {', '.join(_TRUTHS)}, got '{text}'"
        raise ValueError(f"invalid condition expression, {expected}")
    return _TRUTHS[text.strip().lower()]


@dataclass(eq=False)
class IfCondition:
    """Holds if the expression is true or 1."""

    predicate_expression: Text

    def evaluate(self, context: LaunchContext) -> bool:
        """Return whether the condition holds now."""
        return is_true(context, self.predicate_expression)


class UnlessCondition(IfCondition):
    """Holds if the expression is false or 0."""

    def evaluate(self, context: LaunchContext) -> bool:
        return not super().evaluate(context)
