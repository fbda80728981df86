"""Which precision and how many threads a policy runs with: tried on this processor, at the start.

Every precision answers the checkpoint's example observations. Of those whose actions stay within
`MOST_ERROR` of float32's the fastest is taken; then more threads, where one is slow and they are
clearly faster.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from multismolvla.interfaces import Observation

REFERENCE = "float32"
# Largest difference of any number of an action from float32's, over the longest motion of float32.
MOST_ERROR = 0.01
# Where the examples command less than this, a difference is measured against it: radians, or the
# tenth part of the largest step.
LEAST_MOTION_RAD = 0.1
# The threads of a chunk take processor time from all other nodes, and wait for one another when
# these take it back: more of them have to be worth it.
THREADS_GAIN = 1.5
# A chunk of one thread in this time is early enough: more threads are not even tried.
FAST_ENOUGH_S = 0.1
# What is slower than the best so far by this factor after two calls is not run again.
CLEARLY_SLOWER = 1.3
# Calls of one candidate end after this time. A policy that takes longer runs once.
BUDGET_S = 0.3
# Rounds over the examples, after a first call that pays for what is made once.
ROUNDS = 2


class Candidate(Protocol):
    """The policy in one precision."""

    def infer(self, observation: Observation, threads: int) -> np.ndarray:
        """Actions (T, A); the same noise in every call and candidate."""
        ...


@dataclass(frozen=True)
class Choice:
    """What was taken and why.

    Attributes:
        precision, threads: as the words of `policy_precision` and `policy_threads`.
        seconds: of a chunk, the shortest measured.
        reason: all that was tried, as one line.
    """

    precision: str
    threads: int
    seconds: float
    reason: str


@dataclass(frozen=True)
class _Trial:
    seconds: float
    # Index of an example -> targets.
    targets: Mapping[int, np.ndarray]


def choose(
    make: Callable[[str], Candidate],
    precisions: Sequence[str],
    threads: Sequence[int],
    examples: Sequence[Observation],
    clock: Callable[[], float] = time.perf_counter,
    steps: bool = False,
) -> tuple[Choice, Candidate]:
    """Try the precisions with the first number of threads, then the best with the others.

    Only the best candidate so far is held on to.

    Args:
        make: called once for each precision.
        precisions: `float32` first where there is more than one, as what the others are judged by.
        threads: rising.
        examples: at least one.
        clock: seconds.
        steps: actions are steps from where the arm is, not targets.
    """
    fewest, *more = threads
    best_name, best = precisions[0], make(precisions[0])
    trial = reference = _measure(best, fewest, examples, clock)
    times = {best_name: _milliseconds(trial)}
    for name in precisions[1:]:
        candidate = make(name)
        tried = _measure(candidate, fewest, examples, clock, trial.seconds)
        error = largest_error(tried.targets, reference.targets, examples, steps)
        times[name] = _milliseconds(tried)
        # Written so that NaN is rejected.
        if not error <= MOST_ERROR:
            times[name] += f" out: error {100 * error:.1f} %"
        elif tried.seconds < trial.seconds:
            best_name, best, trial = name, candidate, tried
    number, other_numbers = fewest, {}
    for count in more if trial.seconds > FAST_ENOUGH_S else ():
        tried = _measure(best, count, examples, clock, trial.seconds)
        other_numbers[count] = _milliseconds(tried)
        if tried.seconds * THREADS_GAIN <= trial.seconds:
            other_numbers[number] = _milliseconds(trial)
            number, trial = count, tried
    others = ", ".join(f"{name} {words}" for name, words in times.items() if name != best_name)
    numbers = ", ".join(f"{n}: {w}" for n, w in sorted(other_numbers.items()) if n != number)
    reason = (
        f"precision {best_name} ({'; '.join(filter(None, (_milliseconds(trial), others)))}), "
        f"{number} thread{'s' if number > 1 else ''}{f' ({numbers})' if numbers else ''}"
    )
    return Choice(best_name, number, trial.seconds, reason), best


def largest_error(
    targets: Mapping[int, np.ndarray],
    expected: Mapping[int, np.ndarray],
    examples: Sequence[Observation],
    steps: bool = False,
) -> float:
    """Largest difference from expected targets over the longest commanded motion.

    Args:
        targets, expected: index of an example -> (T, A) radians, or steps; what both have counts.
        steps: see `choose`.
    """
    worst = 0.0
    for number in targets.keys() & expected.keys():
        start = 0.0 if steps else examples[number].state
        longest = max(np.abs(expected[number] - start).max(), LEAST_MOTION_RAD)
        # The larger of two where one is NaN is NaN.
        worst = np.maximum(worst, np.abs(targets[number] - expected[number]).max() / longest)
    return float(worst)


def _measure(
    candidate: Candidate,
    threads: int,
    examples: Sequence[Observation],
    clock: Callable[[], float],
    to_beat_s: float = np.inf,
) -> _Trial:
    times: list[float] = []
    targets: dict[int, np.ndarray] = {}
    for number in (0, *list(range(len(examples))) * ROUNDS):
        before = clock()
        targets[number] = candidate.infer(examples[number], threads)
        times.append(clock() - before)
        slower = len(times) > 1 and min(times) > CLEARLY_SLOWER * to_beat_s
        if slower or sum(times) > BUDGET_S:
            break
    # On a busy machine the shortest says most of the policy.
    return _Trial(min(times), targets)


def _milliseconds(trial: _Trial) -> str:
    return f"{trial.seconds * 1e3:.0f} ms"
