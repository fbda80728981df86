"""What the policy node says about itself: one mode and one reason."""

from __future__ import annotations

from typing import NamedTuple


class Mode(NamedTuple):
    """`idle` without a task, `running` while a chunk is executed, else `hold`."""

    name: str
    reason: str


def describe(
    *,
    task: str,
    holding: bool,
    hold_reason: str,
    policy_problem: str,
    had_chunk: bool,
    latency_s: float,
) -> Mode:
    """Return the mode and the reason that a person should read first.

    Args:
        holding: no target of the queue is being executed.
        hold_reason: why nothing may be executed, or "".
        policy_problem: what the last inference failed with, or ""; told while running, too.
        had_chunk: a chunk of this task has been executed, so an empty queue has run dry.
        latency_s: how long an inference takes.
    """
    if not holding:
        return Mode("running", policy_problem)
    if not task:
        return Mode("idle", hold_reason)
    if hold_reason or policy_problem:
        return Mode("hold", hold_reason or policy_problem)
    if had_chunk:
        return Mode("hold", f"the queue ran dry, an inference takes {latency_s:.2f} s")
    return Mode("hold", "waiting for the first chunk")
