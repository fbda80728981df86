"""Whether a scenario came out as expected."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from multismolvla.evaluation.outcome import Outcome
from multismolvla.faults.record import FaultRecord, FaultResult
from multismolvla.faults.scenario import Scenario

# Of a speed that is limited in floating point.
ROUNDING = 1.0 + 1e-6


@dataclass(frozen=True)
class ScenarioRun:
    """A scenario that was run.

    Attributes:
        wall_s: how long it took to run.
        limit_rad_s: speed limit of a joint's goal.
    """

    scenario: Scenario
    outcome: Outcome
    record: FaultRecord
    wall_s: float
    limit_rad_s: float

    @property
    def failures(self) -> list[str]:
        """What did not come out as expected, a line each."""
        return [line for result in self.record.results for line in _of_fault(result)] + [
            *_of_episode(self)
        ]


def _of_fault(result: FaultResult) -> Iterator[str]:
    expect, where = result.expect, f"{result.stream}: {result.scheduled.fault}"
    for word, limit_s, took_s in (
        ("masked", expect.masked_within_s, result.masked_after_s),
        ("warned of", expect.warned_within_s, result.warned_after_s),
        ("recovered", expect.recovered_within_s, result.recovered_after_s),
    ):
        if limit_s is None:
            continue
        if took_s is None:
            yield f"{where}: never {word}; expected within {limit_s:g} s"
        elif took_s > limit_s:
            yield f"{where}: {word} after {took_s:.2f} s; expected within {limit_s:g} s"
    if expect.stays_in_use and result.masked_after_s is not None:
        yield f"{where}: masked after {result.masked_after_s:.2f} s; expected to stay in use"


def _of_episode(run: ScenarioRun) -> Iterator[str]:
    wanted, outcome, record = run.scenario.success, run.outcome, run.record
    if outcome.policy_error:
        yield f"the policy failed: {outcome.policy_error}"
    if wanted is not None and outcome.success is not wanted:
        came = "succeeded" if outcome.success else f"not done after {outcome.duration_s:g} s"
        yield f"task: {came}; expected {'success' if wanted else 'no success'}"
    if record.false_alarms:
        yield f"{record.false_alarms} false alarms: a sound stream was masked"
    if record.fastest_rad_s > run.limit_rad_s * ROUNDING:
        yield (
            f"a joint's goal moved at {record.fastest_rad_s:.2f} rad/s; "
            f"the clamp is {run.limit_rad_s:g}"
        )
