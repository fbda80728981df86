"""Writes a checkpoint's example observations: instants of an episode that it drives in simulation.

    ./run python scripts/example_observations.py src/multismolvla/policy/small
    ./run python scripts/example_observations.py src/multismolvla/policy/small_libero --world libero

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
from multismolvla.stack.labeller import load_network
from multismolvla.stack.settings import load_settings, shipped_config
from multismolvla.stack.worlds import FAST, WORLDS
from multismolvla.streams import load_stream_table

TASKS = {"tabletop": "red_cube_in_bin", "libero": "object/0"}
# Neither trained on nor a place that is kept for evaluation.
SEED = 100_007
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
    parser.add_argument("--world", choices=list(WORLDS), default="tabletop")
    args = parser.parse_args()
    world = WORLDS[args.world]
    settings = load_settings(shipped_config() / world.config)
    table = load_stream_table(settings.file("streams.yaml"))
    network = load_network(settings.labeller.model)
    loop = world.make_loop(table, settings, network, None, FAST)
    recorder = _Recorder(LearnedPolicy.load(args.folder, world.embodiment, threads=1, seed=0))
    key = EpisodeKey(
        str(args.folder),
        CLEAN,
        TASKS[world.name],
        SEED,
        latency_s=world.latency_s,
        queue_threshold=0.9,
        chunk_entry=settings.policy.chunk_entry,
    )
    outcome = run_episode(loop, recorder, key, Condition(CLEAN))
    observations = recorder.observations
    save_examples(args.folder, [observations[int(share * len(observations))] for share in SHARES])
    size = (args.folder / FILE_NAME).stat().st_size
    print(f"{outcome}\n{len(SHARES)} of {len(observations)} observations, {size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
