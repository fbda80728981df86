"""Running a policy on random observations before the robot needs it: warm, and measured."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from multismolvla.interfaces import ActionChunk, Observation, Policy
from multismolvla.policy.precision_choice import Choice
from multismolvla.streams import Stream

TASK = "put the red cube in the bin"
# Calls after the first, in each of the two situations, and the time after which no more follow.
REPEATS = 4
BUDGET_S = 3.0


@dataclass(frozen=True)
class DryRunReport:
    """What a policy costs on this machine.

    Attributes:
        load_s: time that loading took, seconds.
        first_s: the first chunk, which pays for everything that is made once.
        median_s: a later chunk, every stream with a new picture; the first one where there was no
            time for a second.
        one_stream_s: a chunk with all streams masked but the first; None where there was no time.
        peak_memory_bytes: most main memory that this process has ever held, all of it counted.
        parameters: numbers in the model.
        chunk_size, period_s: rows of a chunk and the time between two of them.
        choice: of precision and threads; None where there was nothing to choose.
    """

    load_s: float
    first_s: float
    median_s: float
    one_stream_s: float | None
    peak_memory_bytes: int
    parameters: int
    chunk_size: int
    period_s: float
    choice: Choice | None = None


def synthetic_observation(
    streams: Sequence[Stream], usable: Sequence[str], rng: np.random.Generator, state: np.ndarray
) -> Observation:
    """Noise in every usable stream, None in the others.

    Args:
        state: what the arm is in, for example its home pose.
    """
    return Observation(
        stamp_ns=0,
        frames={s.name: _frame(s, rng) if s.name in usable else None for s in streams},
        mask={stream.name: stream.name in usable for stream in streams},
        state=state.copy(),
        task=TASK,
    )


def dry_run(
    policy: Policy,
    streams: Sequence[Stream],
    state: np.ndarray,
    *,
    parameters: int,
    load_s: float = 0.0,
    choice: Choice | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> DryRunReport:
    """Ask the policy a few times with all its streams and with only the first, then reset it.

    The repetitions end after `BUDGET_S`; a policy whose first chunk takes longer has none.

    Raises:
        whatever the policy raises.
    """
    rng = np.random.default_rng(0)
    names = [stream.name for stream in streams]
    started = clock()

    def timed(usable: Sequence[str]) -> float:
        observation = synthetic_observation(streams, usable, rng, state)
        before = clock()
        chunks.append(policy.infer(observation))
        return clock() - before

    chunks: list[ActionChunk] = []
    first_s = timed(names)
    # In turn, so that both have times however few there are.
    all_streams, one_stream = [], []
    while len(one_stream) < REPEATS and clock() - started < BUDGET_S:
        all_streams.append(timed(names))
        one_stream.append(timed(names[:1]))
    policy.reset()
    return DryRunReport(
        load_s=load_s,
        first_s=first_s,
        median_s=statistics.median(all_streams or [first_s]),
        one_stream_s=statistics.median(one_stream) if one_stream else None,
        # Linux counts in KiB.
        peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        parameters=parameters,
        chunk_size=len(chunks[-1].actions),
        period_s=chunks[-1].period_s,
        choice=choice,
    )


def _frame(stream: Stream, rng: np.random.Generator) -> np.ndarray:
    modality = stream.modality
    shape, (low, high) = modality.shape(stream.height, stream.width), modality.scene
    if modality.is_float:
        return rng.uniform(low, high, shape).astype(np.float32)
    return rng.integers(low, high + 1, shape, np.uint8)
