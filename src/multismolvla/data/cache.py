"""The training cache: samples of many episodes as memory-mapped arrays, one file per quantity.

A sample is one set of frames with the state and the expert's chunk of that instant. Reading one
costs a copy of its bytes and no decoding. Folder: `cache.json` and one `.npy` per array.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

INDEX_FILE = "cache.json"
FORMAT = 1
SPLITS = ("train", "validation")
# Of the arm in caches from before they named its joints: there was one kind.
SO101_JOINTS = (
    "shoulder_pan",
    "shoulder_lift",
    "elbow_flex",
    "wrist_flex",
    "wrist_roll",
    "gripper",
)


class CacheError(ValueError):
    """The cache is missing, incomplete or of another version; one line."""


@dataclass(frozen=True)
class Batch:
    """B samples.

    Attributes:
        frames: stream -> (B, H, W, 3) uint8 rgb; (B, H, W) uint16 depth in millimetres, 0 = no
            return; uint16 thermal in centikelvin; uint8 segmentation. `from_counts` gives
            what the policy's `prepare_frame` takes.
        mask: (B, S) bool in the order of the cache's streams, True = usable. Frames that are not
            usable are zeros.
        state: (B, S) float32; of joints in radians.
        chunk: (B, K, A) float32 actions; row 0 belongs to the instant of the frames.
        instruction: (B,) int64, index into `TrainingCache.instructions`.
        object_poses: (B, n, 7) float32 x, y, z, qw, qx, qy, qz in the order of
            `TrainingCache.objects`; NaN where unknown.
        episode: (B,) int64, index into `TrainingCache.episodes`.
        row: (B,) int64, control step within the episode.
    """

    frames: Mapping[str, np.ndarray]
    mask: np.ndarray
    state: np.ndarray
    chunk: np.ndarray
    instruction: np.ndarray
    object_poses: np.ndarray
    episode: np.ndarray
    row: np.ndarray


ARRAYS = ("mask", "state", "chunk", "instruction", "object_poses", "episode", "row")


def array_file(folder: Path, name: str) -> Path:
    """`wrist/rgb` is kept in `wrist.rgb.npy`."""
    return folder / f"{name.replace('/', '.')}.npy"


class TrainingCache:
    """Random access to the samples of a cache folder. Safe to open in several processes.

    Attributes:
        joints: names of the numbers of `Batch.state`: joints, unless the arm has other states.
        action_names: of the numbers of an action in `Batch.chunk`.
        streams: names of the streams, the order of `Batch.mask`.
        instructions: texts; `Batch.instruction` points here.
        objects: names of the objects or places with poses; empty where no simulator knew them.
        episodes: per episode its name, split, instruction, start (first sample), length (number of
            samples), and meta: what its `Episode.meta` says, with seed and task.
        period_s: time between the rows of a chunk.
        sequential: whether the samples of an episode follow each other in time.
    """

    def __init__(self, folder: str | Path) -> None:
        """
        Raises:
            CacheError: there is no complete cache in the folder.
        """
        self.folder = Path(folder)
        path = self.folder / INDEX_FILE
        try:
            index = json.loads(path.read_text())
        except OSError as error:
            raise CacheError(
                f"{path}: cannot read the cache: {error.strerror}; make one with "
                "'multismolvla dataset cache'"
            ) from None
        except ValueError as error:
            raise CacheError(f"{path}: not valid JSON: {error}") from None
        if not isinstance(index, dict) or index.get("format") != FORMAT:
            raise CacheError(f"{path}: not a cache of format {FORMAT}; make it again")
        self.joints: tuple[str, ...] = tuple(index.get("joints", SO101_JOINTS))
        self.action_names: tuple[str, ...] = tuple(index.get("actions", self.joints))
        self.streams: tuple[str, ...] = tuple(index["streams"])
        self.instructions: tuple[str, ...] = tuple(index["instructions"])
        self.objects: tuple[str, ...] = tuple(index["objects"])
        self.episodes: list[dict] = index["episodes"]
        self.period_s: float = index["period_s"]
        self.sequential: bool = index.get("sequential", True)
        self._length: int = index["samples"]
        self._arrays = {name: self._open(name) for name in (*ARRAYS, *self.streams)}

    def __len__(self) -> int:
        return self._length

    def split(self, name: str) -> np.ndarray:
        """(n,) int64 rising indices of the samples of `train` or `validation`.

        Raises:
            ValueError: there is no such split.
        """
        if name not in SPLITS:
            raise ValueError(f"split is '{name}'; expected {' or '.join(SPLITS)}")
        ranges = [
            np.arange(episode["start"], episode["start"] + episode["length"])
            for episode in self.episodes
            if episode["split"] == name
        ]
        return np.concatenate(ranges) if ranges else np.zeros(0, np.int64)

    def array(self, name: str) -> np.ndarray:
        """A whole memory-mapped array, read-only: one of `ARRAYS` or a stream. Never copied."""
        return self._arrays[name]

    def sample(self, indices: np.ndarray) -> Batch:
        """Copy the samples (B,) out of the files, in the order given."""
        values = {name: self._arrays[name][indices] for name in ARRAYS}
        frames = {stream: self._arrays[stream][indices] for stream in self.streams}
        return Batch(frames=frames, **values)

    def _open(self, name: str) -> np.ndarray:
        path = array_file(self.folder, name)
        try:
            array = np.load(path, mmap_mode="r")
        except (OSError, ValueError) as error:
            raise CacheError(f"{path}: cannot be read ({error}); make the cache again") from None
        if len(array) != self._length:
            raise CacheError(
                f"{path}: has {len(array)} samples, {INDEX_FILE} says {self._length}; "
                "make the cache again"
            )
        return array
