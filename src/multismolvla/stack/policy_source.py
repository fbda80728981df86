"""From the name of a policy to the policy, and to the streams that it looks at."""

from __future__ import annotations

import hashlib
from pathlib import Path

from multismolvla.interfaces import Policy
from multismolvla.policy.examples import FILE_NAME as EXAMPLES
from multismolvla.policy.shipped import FOLDERS, shipped_folder
from multismolvla.sim.expert_policy import COMMITTED_S, ExpertPolicy
from multismolvla.streams import StreamTable

EXPERT, SMALL = "expert", "small"
# How old a set of pictures may be when it is taken: a camera period and the way here.
OBSERVATION_AGE_S = 0.1


def with_digest(name: str) -> str:
    """Name an exact policy: `runs/small@1f2e3d4c`, so that a checkpoint trained on is another one.

    What is written about it (`README.md`) may change without making it another one, and so may its
    example observations, by which only a robot chooses its arithmetic.

    Raises:
        ValueError: there is no such checkpoint; one line.
    """
    if name == EXPERT:
        return name
    folder = shipped_folder(name) or Path(name)
    if not folder.is_dir():
        names = ", ".join(f"'{known}'" for known in (EXPERT, *FOLDERS))
        raise ValueError(f"policy '{name}': expected {names} or the folder of a checkpoint")
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.is_file() and file.suffix != ".md" and file.name != EXAMPLES:
            digest.update(file.name.encode() + file.read_bytes())
    return f"{name}@{digest.hexdigest()[:8]}"


def without_digest(policy: str) -> str:
    """The name as it was given to `with_digest`."""
    return policy.rpartition("@")[0] or policy


def expert_for(execution: str, latency_s: float) -> ExpertPolicy:
    """The expert, told how its chunks will be used: it looks at no stream.

    An arm that goes on during an inference follows the chunk before until the answer is there; one
    that waits has nothing to repeat.
    """
    if execution == "synchronous":
        return ExpertPolicy(committed_s=0.0)
    return ExpertPolicy(committed_s=max(COMMITTED_S, latency_s + OBSERVATION_AGE_S))


def load_checkpoint_policy(
    name: str, table: StreamTable, device: str, noise_scale: float = 0.0
) -> tuple[Policy, tuple[str, ...]]:
    """Return the policy and, in the order of the table, the streams it looks at.

    The noise of a checkpoint is seeded: each episode of it begins with the same.

    Raises:
        ValueError: there is no such checkpoint, or it shares no stream with the table; one line.
    """
    # Imports torch, which takes seconds that the expert need not wait.
    from multismolvla.policy.learned_policy import LearnedPolicy

    policy = LearnedPolicy.load(name, device=device, threads=1, seed=0, noise_scale=noise_scale)
    known = {stream.name for stream in policy.streams}
    streams = tuple(name for name in table.names if name in known)
    if not streams:
        raise ValueError(
            f"policy '{name}' sees {', '.join(sorted(known))}, of which the stream table has none"
        )
    return policy, streams
