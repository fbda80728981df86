"""Frames that fit the joints and frames that do not, drawn from training caches.

No labels are needed: every recorded frame fits the joints of its instant, and frames that do not
fit are made by `faults`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np

from multismolvla.data.cache import TrainingCache
from multismolvla.faults.fault import Fault
from multismolvla.faults.registry import find_fault
from multismolvla.modalities.conversion import from_counts
from multismolvla.modalities.registry import modality_of
from multismolvla.pose_check.picture import SIZE, to_picture

# What a pose check finds in single frames, as a heat map.

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def write_pose_chart(path: Path, found: Mapping[str, Mapping[str, float]]) -> None:
    """Write a PNG with a row per stream and a column for each kind of damage.

    Args:
        found: stream -> kind of damage -> share of the frames beyond the margin.
    """
    columns = list(next(iter(found.values())))
    shares = np.array([[own[name] for name in columns] for own in found.values()])
    figure, axes = plt.subplots(
        figsize=(3.0 + 0.55 * len(columns), 1.9 + 0.3 * len(found)), layout="constrained"
    )
    image = axes.imshow(shares, cmap="viridis", vmin=0.0, vmax=1.0, aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        colour = "black" if share > 0.6 else "white"
        text = f"{100 * share:.0f}"
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(columns)), columns, rotation=40, ha="right", fontsize=8)
    axes.set_yticks(range(len(found)), list(found), fontsize=8)
    axes.set_title("single frames beyond the margin, percent", fontsize=9)
    figure.colorbar(image, fraction=0.05)
    figure.savefig(path, dpi=120)
    plt.close(figure)


# Kinds of samples, and how often. Frames of poor quality have their own warnings.
SHARES = {"sound": 0.3, "worse": 0.15, "late": 0.2, "other": 0.07, "shifted": 0.16, "covered": 0.12}
WORSE = ("noise", "motion_blur", "defocus", "salt_and_pepper")
# Those of them that suit the kind.
WORSE_OF_KIND = ("colour_cast", "exposure", "nan_depth", "smoke")
WORSE_SEVERITIES = (1, 2, 3)
SHIFT, TURN_DEG = (0.03, 0.25), (0.0, 8.0)
COVERED = (0.15, 0.75)
# Age of a late frame, in samples of an episode (1/15 s as `dataset cache` makes them).
LATE = (2, 15)
# A late frame is not wrong if the arm stood still.
MOVED_RAD = 0.04
# Joint states are read up to this share of a sample's period before or after the frame.
JITTER = 0.3
JOINT_NOISE_RAD = 0.003
# A mixture of scenes with episodes: scenes have poses that no task needs, and no motion.
EPISODES_SHARE = 0.7


class PoseSamples:
    """Draws samples of one stream.

    Args:
        split: `train` or `validation` of the caches.

    Raises:
        ValueError: a cache lacks the stream, or there is no episode in any.
    """

    def __init__(
        self, caches: Sequence[TrainingCache], stream: str, split: str, rng: np.random.Generator
    ) -> None:
        self._modality = modality_of(stream)
        self._kind = self._modality.name
        self._stream, self._rng = stream, rng
        own = (name for name in WORSE_OF_KIND if find_fault(name).suits(self._modality))
        self._worse = (*WORSE, *own)
        self._usable: dict[bool, list[tuple[TrainingCache, np.ndarray]]] = {True: [], False: []}
        for cache in caches:
            if stream not in cache.streams:
                raise ValueError(f"{cache.folder}: has no stream '{stream}'")
            indices = cache.split(split)
            there = cache.array("mask")[indices, cache.streams.index(stream)]
            if there.any():
                self._usable[cache.sequential].append((cache, indices[there]))
        if not self._usable[True]:
            raise ValueError(f"no episode has pictures of '{stream}' for {split}")

    def draw(self, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return frames (B, C, SIZE, SIZE), joints (B, 6) radians, and 1.0 where they misfit."""
        pictures = np.empty((count, self._modality.pose_channels, SIZE, SIZE), np.float32)
        joints = np.empty((count, 6), np.float32)
        misfit = np.zeros(count, np.float32)
        whats = self._rng.choice(list(SHARES), count, p=list(SHARES.values()))
        for k, what in enumerate(whats):
            pictures[k], joints[k], misfit[k] = self._one(str(what))
        return pictures, joints, misfit

    def sequences(self) -> list[tuple[np.ndarray, TrainingCache]]:
        """Indices of each episode in its cache, in their order."""
        found = []
        for cache, indices in self._usable[True]:
            episodes = cache.array("episode")[indices]
            cuts = np.flatnonzero(np.diff(episodes)) + 1
            found += [(part, cache) for part in np.split(indices, cuts)]
        return found

    def frame(self, cache: TrainingCache, index: int) -> np.ndarray:
        """A conditioned frame."""
        return from_counts(self._modality, np.asarray(cache.array(self._stream)[index]))

    def _one(self, what: str) -> tuple[np.ndarray, np.ndarray, float]:
        rng = self._rng
        sequential = rng.random() < EPISODES_SHARE or not self._usable[False]
        choices = self._usable[bool(sequential)]
        cache, indices = choices[rng.integers(len(choices))]
        index = int(rng.choice(indices))
        joints = cache.array("state")[index]
        source, misfit, fault = index, 0.0, None
        if what == "worse":
            fault = find_fault(str(rng.choice(self._worse))).at_severity(
                self._kind, int(rng.choice(WORSE_SEVERITIES)), self._seed()
            )
        elif what in ("late", "other"):
            source, misfit = self._elsewhere(cache, indices, index, late=what == "late"), 1.0
            if np.abs(cache.array("state")[source] - joints).max() < MOVED_RAD:
                source, misfit = index, 0.0
        elif what != "sound":
            fault, misfit = self._out_of_place(what), 1.0
        frame = self.frame(cache, source)
        if fault is not None:
            frame = fault.corrupt(frame)
        if sequential:
            joints = self._jittered(cache, index)
        noise = rng.normal(0.0, JOINT_NOISE_RAD, joints.shape)
        return to_picture(self._modality, frame), joints + noise, misfit

    def _elsewhere(
        self, cache: TrainingCache, indices: np.ndarray, index: int, *, late: bool
    ) -> int:
        """A sample of the same episode some time ago, or any other."""
        if not (late and cache.sequential):
            return int(self._rng.choice(indices))
        earlier = index - int(self._rng.integers(LATE[0], LATE[1] + 1))
        same = earlier >= 0 and cache.array("episode")[earlier] == cache.array("episode")[index]
        there = same and cache.array("mask")[earlier, cache.streams.index(self._stream)]
        return earlier if there else index

    def _out_of_place(self, what: str) -> Fault:
        rng, kind = self._rng, self._kind
        if what == "covered":
            share = float(rng.uniform(*COVERED))
            return find_fault("occlusion")(kind, self._seed(), share=share)
        shift, turn = float(rng.uniform(*SHIFT)), float(rng.uniform(*TURN_DEG))
        return find_fault("shifted_view")(kind, self._seed(), shift=shift, turn=turn)

    def _jittered(self, cache: TrainingCache, index: int) -> np.ndarray:
        """Joints a little before or after the frame."""
        states, share = cache.array("state"), self._rng.uniform(-JITTER, JITTER)
        other = index + (1 if share > 0 else -1)
        episodes = cache.array("episode")
        if not 0 <= other < len(states) or episodes[other] != episodes[index]:
            return states[index]
        return states[index] + abs(share) * (states[other] - states[index])

    def _seed(self) -> int:
        return int(self._rng.integers(2**31))
