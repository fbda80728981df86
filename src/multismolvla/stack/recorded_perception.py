"""A recording through the perception of the stack, at the instants at which it would have run.

Replay and training read recordings by this, so that both see what the policy node sees: the same
frames, in the same sets, with the same masks.
"""

from __future__ import annotations

from collections.abc import Iterator

from multismolvla.control.policy_view import PolicyView
from multismolvla.data.recording import STATUS, Event, Recording
from multismolvla.sensing.synchronizer import SynchronizedSet
from multismolvla.stack.labeller import Segmenter
from multismolvla.stack.perception import Perception
from multismolvla.stack.settings import StackSettings

# What happens between two messages happens on a grid, as timers of the nodes would have it.
GRID_NS = 5_000_000


def instants(recording: Recording, *, commands: bool = False) -> Iterator[Event | int]:
    """Every event of a recording, and before each the instants of the grid up to it.

    The grid begins with the first event.
    """
    grid_ns = None
    for event in recording.events(commands=commands):
        grid_ns = event.now_ns if grid_ns is None else grid_ns
        while grid_ns <= event.now_ns:
            yield grid_ns
            grid_ns += GRID_NS
        yield event


def feed(perception: Perception, event: Event) -> None:
    """Hand a frame, or the status of a stream, to the perception."""
    if event.source.endswith(STATUS):
        if not event.problem:
            perception.report(event.source.removesuffix(STATUS), event.value, event.now_ns)
    elif event.problem:
        perception.refuse(event.source, event.problem, event.now_ns)
    else:
        perception.send(event.source, event.value, event.stamp_ns, event.now_ns)


def perceived(
    recording: Recording,
    segmenter: Segmenter | None = None,
    *,
    commands: bool = False,
    settings: StackSettings | None = None,
) -> Iterator[Event | SynchronizedSet]:
    """Everything of a recording in order, its frames brought together in sets of conditioned ones.

    Args:
        segmenter: makes the labels; not needed where the recording has them.
        commands: also what the arm was commanded.
        settings: of the stack that the recording is given to, by default those of a new stack.

    Yields:
        a set for each instant of the cameras, and the events that are no frames or statuses.
    """
    table, settings = recording.table, settings or StackSettings()
    made: list[SynchronizedSet] = []
    perception = Perception(
        table,
        PolicyView(table, settings.policy.max_set_age_s),
        {},
        settings,
        segmenter=None if recording.labels_recorded else segmenter,
        on_set=lambda _, complete: made.append(complete),
        reported=recording.judged,
    )
    seen = {*recording.streams, *(f"{name}{STATUS}" for name in recording.judged)}
    for instant in instants(recording, commands=commands):
        if isinstance(instant, int):
            perception.advance(instant)
        elif instant.source in seen:
            feed(perception, instant)
            perception.advance(instant.now_ns)
        else:
            yield instant
        yield from made
        made.clear()
