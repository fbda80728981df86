"""From the value of the parameter `policy` to an object that can be asked for chunks."""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points

from multismolvla.interfaces import Policy
from multismolvla.nodes.parameters import ParameterError

GROUP = "multismolvla.policies"


def known_policies() -> list[str]:
    """Names of the policies that installed packages offer."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def load_policy(name: str) -> Policy:
    """Make the policy of that name, or of `module:Class` for one that is not installed.

    Raises:
        ParameterError: no such policy, or it cannot be made; one line with what to do.
    """
    known = f"known: {', '.join(known_policies()) or 'none'}, or module:Class"
    matches = [entry for entry in entry_points(group=GROUP) if entry.name == name]
    if not matches and ":" not in name:
        raise ParameterError(f"policy is '{name}', which no installed package offers; {known}")
    try:
        if matches:
            policy = matches[0].load()()
        else:
            module, _, attribute = name.partition(":")
            policy = getattr(importlib.import_module(module), attribute)()
    except Exception as error:  # A policy is foreign code: whatever it raises ends the start.
        cause = " ".join(str(error).split())
        raise ParameterError(
            f"policy '{name}' cannot be made: {type(error).__name__}: {cause}; {known}"
        ) from error
    for method in ("infer", "reset"):
        if not callable(getattr(policy, method, None)):
            raise ParameterError(
                f"policy '{name}' has no method '{method}'; "
                "expected a class that implements multismolvla.interfaces.Policy"
            )
    return policy
