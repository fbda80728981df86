"""An error as one line, for messages that a person reads at the robot."""

from __future__ import annotations


def one_line(error: object) -> str:
    """What an error says, on one line; the name of its type where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__
