"""A scenario: what breaks when in one episode, and what the stack is expected to do about it."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from multismolvla.faults.conditions import select_streams
from multismolvla.faults.delivery_queue import FaultSchedule
from multismolvla.faults.fault import JOINT_STATES, Fault, TimedFault
from multismolvla.faults.registry import make_fault
from multismolvla.streams import StreamTable

# How long an episode continues after the last fault, so that its end can be judged.
SETTLE_S = 1.0


@dataclass(frozen=True)
class Expectations:
    """What must hold for each stream of a fault; None and False expect nothing.

    Attributes:
        masked_within_s: the stream is masked at most this long after the fault's start.
        warned_within_s: the stream is degraded or masked at most this long after it.
        recovered_within_s: it is in use at most this long after the fault's end, and stays so.
        stays_in_use: it is never masked.
    """

    masked_within_s: float | None = None
    warned_within_s: float | None = None
    recovered_within_s: float | None = None
    stays_in_use: bool = False


@dataclass(frozen=True)
class ScheduledFault:
    """One fault of one stream or several.

    Attributes:
        stream: as `select_streams` reads it, or `joint_states`.
        fault: its name.
        start_s: seconds after the instruction; negative is before it.
        duration_s: None for the rest of the episode.
        severity: 1 to 5, None for 3.
        seed: of what the fault draws; every stream draws on its own.
    """

    stream: str
    fault: str
    start_s: float = 0.0
    duration_s: float | None = None
    severity: int | None = None
    parameters: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    expect: Expectations = field(default_factory=Expectations)

    @property
    def end_s(self) -> float | None:
        """When it ends, None for with the episode."""
        return None if self.duration_s is None else self.start_s + self.duration_s

    def streams(self, table: StreamTable) -> tuple[str, ...]:
        """The streams that it affects.

        Raises:
            ValueError: there is none of that name; one line.
        """
        if self.stream == JOINT_STATES:
            return (JOINT_STATES,)
        return select_streams(self.stream, table)

    def make(self, stream: str, table: StreamTable) -> Fault:
        """Make the fault of one of its streams.

        Raises:
            ValueError: see `make_fault`.
        """
        kind = JOINT_STATES if stream == JOINT_STATES else table[stream].kind
        own_seed = zlib.crc32(f"{self.seed} {stream}".encode())
        return make_fault(self.fault, kind, own_seed, self.severity, self.parameters)


@dataclass(frozen=True)
class Scenario:
    """One episode with faults.

    Attributes:
        task: id or instruction.
        seed: of the scene.
        policy: `expert`, `small` or the folder of a checkpoint.
        at_least_s: the episode continues for this long after the instruction, even after success.
        success: what the task must come to; None expects nothing.
    """

    name: str
    faults: tuple[ScheduledFault, ...]
    description: str = ""
    task: str = "red_cube_in_bin"
    seed: int = 1
    policy: str = "expert"
    at_least_s: float = 0.0
    success: bool | None = True

    @property
    def lasts_s(self) -> float:
        """How long the episode continues at least: until the recovery from every fault is seen."""
        ends = [f.end_s + SETTLE_S for f in self.faults if f.end_s is not None]
        starts = [f.start_s + SETTLE_S for f in self.faults if f.end_s is None]
        return max([self.at_least_s, *ends, *starts])

    def schedules(self, table: StreamTable, origin_ns: int) -> dict[str, FaultSchedule]:
        """Stream -> its faults, made again, on a clock on which the instruction is at `origin_ns`.

        Raises:
            ValueError: a fault cannot be made, or a stream does not exist; one line.
        """
        timed: dict[str, list[TimedFault]] = {}
        for scheduled in self.faults:
            start_ns = origin_ns + round(scheduled.start_s * 1e9)
            end_s = scheduled.end_s
            end_ns = None if end_s is None else origin_ns + round(end_s * 1e9)
            for stream in scheduled.streams(table):
                fault = scheduled.make(stream, table)
                timed.setdefault(stream, []).append(TimedFault(fault, start_ns, end_ns))
        return {stream: FaultSchedule(faults) for stream, faults in timed.items()}
