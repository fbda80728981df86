"""A matrix of faults from a few words: `rgb:noise`, `all-depth:frozen:5`, `rgb+wrist/rgb:drop`."""

from __future__ import annotations

from multismolvla.evaluation.scenario import Scenario, ScheduledFault
from multismolvla.sensing.corruptions.fault import SEVERITIES
from multismolvla.sensing.corruptions.registry import find_fault
from multismolvla.streams import StreamTable


def expand(
    texts: list[str], table: StreamTable, start_s: float, duration_s: float | None
) -> list[Scenario]:
    """One scenario for each `STREAMS:FAULT[:SEVERITY]`, or one for each severity of it.

    Args:
        texts: streams as `select_streams` reads them, or `joint_states`.

    Raises:
        ValueError: a stream, fault or severity does not exist, or they do not fit; one line.
    """
    return [
        scenario for text in texts for scenario in _expand_one(text, table, start_s, duration_s)
    ]


def _expand_one(
    text: str, table: StreamTable, start_s: float, duration_s: float | None
) -> list[Scenario]:
    streams, _, rest = text.partition(":")
    name, _, severity = rest.partition(":")
    try:
        if not streams or not name:
            raise ValueError("expected STREAMS:FAULT or STREAMS:FAULT:SEVERITY")
        if severity:
            severities: tuple[int | None, ...] = (_severity(severity),)
        else:
            severities = SEVERITIES if find_fault(name).has_severity() else (None,)
        made = []
        for level in severities:
            fault = ScheduledFault(streams, name, start_s, duration_s, level)
            for stream in fault.streams(table):
                fault.make(stream, table)
            word = name if level is None else f"{name}-{level}"
            made.append(Scenario(f"{streams}:{word}", (fault,)))
    except ValueError as error:
        raise ValueError(f"--fault {text}: {error}") from None
    return made


def _severity(text: str) -> int:
    if not text.isdigit() or int(text) not in SEVERITIES:
        raise ValueError(f"severity is '{text}'; expected 1 to 5")
    return int(text)
