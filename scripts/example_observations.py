"""Writes a checkpoint's example observations: instants of an episode that it drives in simulation.

    ./run python scripts/example_observations.py src/multismolvla/policy/small

At the start of the policy node each precision is compared with float32 on them (`policy/examples`).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from multismolvla.evaluation.episode import run_episode
from multismolvla.evaluation.outcome import EpisodeKey
from multismolvla.faults.conditions import CLEAN, Condition
from multismolvla.interfaces import ActionChunk, Observation
from multismolvla.policy.examples import FILE_NAME, save_examples
from multismolvla.policy.learned_policy import LearnedPolicy
from multismolvla.segmentation.predictor import Segmenter
from multismolvla.sim.simulation import Simulation
from multismolvla.stack.closed_loop import ClosedLoop
from multismolvla.stack.command_options import add_streams, stream_table_file
from multismolvla.streams import load_stream_table

TASK, SEED = "red_cube_in_bin", 100_007
# Reaching, at the object, carrying: shares of the episode's inferences.
SHARES = (0.1, 0.4, 0.7)


class _Recorder:
    """A policy that keeps its observations."""

    def __init__(self, policy: LearnedPolicy) -> None:
        self._policy = policy
        self.observations: list[Observation] = []

    def infer(self, observation: Observation) -> ActionChunk:
        if all(frame is not None for frame in observation.frames.values()):
            self.observations.append(observation)
        return self._policy.infer(observation)

    def reset(self) -> None:
        self._policy.reset()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of the checkpoint")
    add_streams(parser)
    args = parser.parse_args()
    table = load_stream_table(stream_table_file(args.streams))
    loop = ClosedLoop(table, segmenter=Segmenter(threads=1))
    recorder = _Recorder(LearnedPolicy.load(args.folder, Simulation.embodiment, threads=1, seed=0))
    key = EpisodeKey(str(args.folder), CLEAN, TASK, SEED, queue_threshold=0.9)
    outcome = run_episode(loop, recorder, key, Condition(CLEAN))
    loop.close()
    observations = recorder.observations
    save_examples(args.folder, [observations[int(share * len(observations))] for share in SHARES])
    size = (args.folder / FILE_NAME).stat().st_size
    print(f"{outcome}\n{len(SHARES)} of {len(observations)} observations, {size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
