"""Which streams do not show the arm at its measured joint positions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from multismolvla.modalities.registry import find_modality
from multismolvla.pose_check.network import PoseNetwork
from multismolvla.pose_check.picture import to_picture
from multismolvla.pose_check.weights import SHIPPED, PoseCheckError, StreamWeights, load_weights

# From single frames, each of which may be wrong by chance, to a decision about their stream.


class Evidence:
    """Adds up how far frames exceed the margin, as Page's cumulative sum test does.

    One frame counts no more than `MOST` for and `LEAST` against: no single frame decides.
    The sum stays between 0 and 1; a stream contradicts from 1 on, until the sum is 0 again.

    Args:
        margin: logit above which a frame counts against its stream.
    """

    # At 15 Hz a gross misfit is found with the third frame, after 0.2 s, and is over with the
    # fourth good one, so that recovery takes no longer than that of a camera that was unplugged.
    MOST, LEAST = 0.34, 0.25
    # Logit above the margin that corresponds to the whole range of the sum.
    WHOLE = 20.0

    def __init__(self, margin: float) -> None:
        self._margin = margin
        self._sum = 0.0
        self.contradicts = False

    def add(self, logit: float) -> bool:
        """Add one frame; return whether the stream contradicts now."""
        weight = (logit - self._margin) / self.WHOLE
        self._sum = min(1.0, max(0.0, self._sum + min(self.MOST, max(-self.LEAST, weight))))
        if self._sum in (0.0, 1.0):
            self.contradicts = self._sum == 1.0
        return self.contradicts


# Names of weights: those of the simulated cameras, or none; anything else is a file.
SIMULATION, NONE = "simulation", "none"
# As a reason after the word "image".
CONTRADICTS = "contradicts the pose"


def find_weights(source: str) -> dict[str, StreamWeights]:
    """The weights that `simulation`, `none` or the path of a file stands for, by stream.

    Raises:
        PoseCheckError: the file cannot be used.
    """
    if source == NONE:
        return {}
    return load_weights(SHIPPED if source == SIMULATION else Path(source))


class PoseCheck:
    """Compares sets of frames with the joints of their instant.

    A frame that was shifted, covered, or taken at another time shows the arm elsewhere, or not
    at all. If the joints are what is wrong, every stream contradicts.

    Args:
        weights: by stream; one that is not among them is never judged.
        derived: stream that is computed from others -> these. Its own frames are not compared,
            which are not those that the weights know, and contradicts as soon as one of them does.

    Raises:
        PoseCheckError: the weights of a stream are incomplete.
    """

    def __init__(
        self,
        weights: Mapping[str, StreamWeights],
        derived: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        self._derived = dict(derived or {})
        self._weights = {n: own for n, own in weights.items() if n not in self._derived}
        self._modalities = {name: find_modality(own.kind) for name, own in self._weights.items()}
        try:
            self._networks = {name: PoseNetwork(own.arrays) for name, own in self._weights.items()}
        except ValueError as error:
            raise PoseCheckError(f"the pose check cannot be used: {error}") from None
        self.forget()

    def forget(self) -> None:
        """Begin again: another episode, or a clock that was set back."""
        self._evidence = {name: Evidence(own.margin) for name, own in self._weights.items()}

    def judge(self, frames: Mapping[str, np.ndarray | None], joints: np.ndarray) -> dict[str, str]:
        """Compare a set of frames and return the streams that contradict, each with the reason.

        Args:
            frames: as in `interfaces.Observation.frames`; a stream without one stays as it was.
            joints: (6,) radians at that instant.
        """
        for name, frame in frames.items():
            if frame is not None and name in self._networks:
                picture = to_picture(self._modalities[name], frame)
                self._evidence[name].add(self._networks[name].misfit(picture, joints))
        found = [name for name, own in self._evidence.items() if own.contradicts]
        found += [name for name, made_of in self._derived.items() if set(made_of) & set(found)]
        return dict.fromkeys(found, CONTRADICTS)
