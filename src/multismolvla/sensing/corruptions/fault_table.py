"""Every fault with its parameters as a table in Markdown, for the documents and the command."""

from __future__ import annotations

from collections.abc import Iterator

from multismolvla.sensing.corruptions.fault import JOINT_STATES, Fault
from multismolvla.sensing.corruptions.registry import FAULTS
from multismolvla.streams import KINDS

HEADER = (
    "| fault | what it is | streams | parameter | unit | range | severity 1 | 2 | 3 | 4 | 5 |",
    "|---|---|---|---|---|---|---|---|---|---|---|",
)


def fault_table() -> list[str]:
    """The lines of the table, a row for each parameter and for each fault without one."""
    return [*HEADER, *(row for fault in FAULTS.values() for row in _rows(fault))]


def _rows(fault: type[Fault]) -> Iterator[str]:
    summary = fault.__doc__.splitlines()[0].rstrip(".")
    first = [f"`{fault.name}`", summary, _streams(fault)]
    if not fault.parameters():
        yield _row([*first, *[""] * 8])
    for declared in fault.parameters():
        limits = declared.metadata
        values = [f"{value:.3g}" for value in limits["severities"]]
        if len(set(values)) == 1:
            values = [values[0], *[""] * 4]
        span = f"{limits['minimum']:g} to {limits['maximum']:g}"
        described = f"`{declared.name}`: {limits['description']}"
        yield _row([*first, described, limits["unit"], span, *values])
        first = [""] * 3


def _streams(fault: type[Fault]) -> str:
    if fault.kinds == (*KINDS, JOINT_STATES):
        return "all, joint states"
    return "all" if fault.kinds == KINDS else ", ".join(fault.kinds)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |".replace("|  ", "| ")
