"""Example observations of a checkpoint: what its precision is judged on at the start.

A few instants of a real episode in `examples.npz` beside the weights, numbers and text alone. Depth
and temperature are kept in half precision, which at a table is 0.3 mm and 0.02 degrees.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from multismolvla.interfaces import Observation
from multismolvla.one_line import one_line
from multismolvla.policy.dry_run import synthetic_observation
from multismolvla.streams import Stream

FILE_NAME = "examples.npz"
# Where a checkpoint brings none: noise in every stream, so that rounding is tried at least.
MADE_UP = 2


class ExamplesError(ValueError):
    """The file holds no observations of this checkpoint; one line."""


def save_examples(folder: Path, observations: Sequence[Observation]) -> None:
    """Write observations, each with a frame of every one of its streams."""
    arrays: dict[str, np.ndarray] = {}
    for number, observation in enumerate(observations):
        arrays[f"{number}/state"] = observation.state
        arrays[f"{number}/task"] = np.array(observation.task)
        for name, frame in observation.frames.items():
            small = frame.astype(np.float16) if frame.dtype == np.float32 else frame
            arrays[f"{number}/frame/{name}"] = small
    np.savez_compressed(Path(folder) / FILE_NAME, **arrays)


def load_examples(folder: Path, streams: Sequence[Stream], state_size: int) -> list[Observation]:
    """Read the observations of a checkpoint with these streams; none where it brings none.

    Raises:
        ExamplesError: the file is damaged, or of other streams.
    """
    path = Path(folder) / FILE_NAME
    if not path.is_file():
        return []
    try:
        with np.load(path, allow_pickle=False) as file:
            count = sum(name.endswith("/state") for name in file.files)
            return [_observation(file, number, streams, state_size) for number in range(count)]
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        cause = one_line(error)
        raise ExamplesError(
            f"{path}: no example observations of this checkpoint: {cause}"
        ) from None


def made_up_examples(streams: Sequence[Stream], state: np.ndarray) -> list[Observation]:
    """What stands in for them: noise, the arm in `state`; see `synthetic_observation`."""
    rng = np.random.default_rng(0)
    names = [stream.name for stream in streams]
    return [synthetic_observation(streams, names, rng, state) for _ in range(MADE_UP)]


def _observation(
    file: np.lib.npyio.NpzFile, number: int, streams: Sequence[Stream], state_size: int
) -> Observation:
    frames = {stream.name: file[f"{number}/frame/{stream.name}"] for stream in streams}
    state = file[f"{number}/state"]
    if state.shape != (state_size,):
        raise ValueError(f"state has shape {state.shape}; expected ({state_size},)")
    return Observation(
        stamp_ns=0,
        frames={
            name: frame.astype(np.float32) if frame.dtype == np.float16 else frame
            for name, frame in frames.items()
        },
        mask=dict.fromkeys(frames, True),
        state=state,
        task=str(file[f"{number}/task"]),
    )
