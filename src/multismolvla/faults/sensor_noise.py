"""The Sensor Noise of LIBERO-plus: five corruptions of a colour camera at ten severities each.

The corruptions are those of ImageNet-C (Hendrycks and Dietterich, 'Benchmarking Neural Network
Robustness to Common Corruptions and Perturbations', 2019), the severities those of LIBERO-plus
(Fei et al., 2025, arXiv 2510.13626). Written anew from the formulas; where LIBERO-plus differs from
ImageNet-C, or has a quirk, so has this.

They are defined on pictures of 256 px, upside down as MuJoCo renders them. Frames here are smaller
and LIBERO's are turned by 180 degrees: `SensorNoise` brings a frame there and back.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import cv2
import numpy as np

from multismolvla.faults.fault import PictureFault
from multismolvla.modalities.conversion import resize
from multismolvla.modalities.modality import Modality

SIZE = 256
# So far from the top and the left pixels of glass blur are exchanged; ImageNet-C has pictures of
# that size, and LIBERO-plus left the number in place.
GLASS_EXTENT = 224


@dataclass
class SensorNoise(PictureFault):
    """One of the five.

    Attributes:
        severity: 1 to 10.
    """

    severity: int = field(default=5, kw_only=True)
    levels: ClassVar[tuple[int, ...]] = tuple(range(1, 11))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.severity not in self.levels:
            raise ValueError(f"{self.name}: severity is {self.severity}; expected 1 to 10")

    @classmethod
    def suits(cls, modality: Modality) -> bool:
        return modality.channels == 3

    @classmethod
    def at_severity(cls, kind: str, severity: int, seed: int = 0) -> SensorNoise:
        return cls(kind, seed, severity=severity)

    def corrupt(self, frame: np.ndarray) -> np.ndarray:
        large = resize(self._modality, frame, SIZE, SIZE)[::-1, ::-1]
        damaged = self.damage(np.ascontiguousarray(large))
        back = np.ascontiguousarray(damaged[::-1, ::-1])
        made = resize(self._modality, back, *frame.shape[:2])
        return made.copy() if made is frame else made

    @abstractmethod
    def damage(self, picture: np.ndarray) -> np.ndarray:
        """Damage a picture (256, 256, 3) uint8, upside down; returns another."""


def _levels(share: np.ndarray) -> np.ndarray:
    """Shares of the full level as levels; fractions are cut off, as LIBERO-plus cuts them."""
    return (share.clip(0.0, 1.0) * 255).astype(np.uint8)


def _gaussian(picture: np.ndarray, sigma: float) -> np.ndarray:
    """Blurred over a square that ends at four deviations; the edge goes on beyond the edge."""
    width = 2 * int(4.0 * sigma + 0.5) + 1
    return cv2.GaussianBlur(
        picture, (width, width), sigma, sigmaY=sigma, borderType=cv2.BORDER_REPLICATE
    )


@dataclass
class PlusMotionBlur(SensorNoise):
    """A smear to one side, from level to half upright, of another direction in every frame.

    As ImageMagick blurs: half a Gaussian along a line of whole pixels.
    """

    name = "plus_motion_blur"
    # Reach in pixels, and standard deviation.
    _TABLE = (
        (5, 2), (8, 3), (10, 4), (12, 5), (15, 6), (18, 8), (20, 10), (25, 12), (30, 15), (35, 20)
    )  # fmt: skip

    def damage(self, picture: np.ndarray) -> np.ndarray:
        radius, sigma = self._TABLE[self.severity - 1]
        angle = math.radians(self._rng.uniform(-45, 45))
        along = np.arange(2 * radius + 1)
        weights = np.exp(-(along**2) / (2.0 * sigma**2))
        columns = np.ceil(along * math.cos(angle) - 0.5).astype(int)
        rows = np.ceil(along * math.sin(angle) - 0.5).astype(int)
        kernel = np.zeros((4 * radius + 1, 4 * radius + 1))
        np.add.at(kernel, (rows + 2 * radius, columns + 2 * radius), weights / weights.sum())
        return cv2.filter2D(picture, -1, kernel, borderType=cv2.BORDER_REPLICATE)


@dataclass
class PlusGaussianBlur(SensorNoise):
    """A Gaussian blur; its standard deviation in pixels is the severity."""

    name = "plus_gaussian_blur"

    def damage(self, picture: np.ndarray) -> np.ndarray:
        return _levels(_gaussian(picture / 255.0, float(self.severity)))


@dataclass
class PlusZoomBlur(SensorNoise):
    """The mean of the picture and of ever larger ones of its middle."""

    name = "plus_zoom_blur"
    # Largest zoom (not reached), and the step between two of them.
    _TABLE = (
        (1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03),
        (1.36, 0.01), (1.41, 0.01), (1.46, 0.02), (1.51, 0.02), (1.56, 0.03),
    )  # fmt: skip

    def damage(self, picture: np.ndarray) -> np.ndarray:
        end, step = self._TABLE[self.severity - 1]
        zooms = np.arange(1, end, step)
        sound = picture.astype(np.float32) / 255.0
        total = sound.copy()
        for zoom in zooms:
            total += _zoomed(sound, float(zoom))
        return _levels(total / (len(zooms) + 1))


def _zoomed(picture: np.ndarray, zoom: float) -> np.ndarray:
    """The middle of a square picture, enlarged to the size of the picture.

    What is cut out is a whole number of pixels wide, its corners stay corners when it is enlarged,
    and what is too much is cut off on both sides.
    """
    size = len(picture)
    cut = math.ceil(size / zoom)
    enlarged = round(cut * zoom)
    first, trimmed = (size - cut) // 2, (enlarged - size) // 2
    at = (np.arange(size) + trimmed) * ((cut - 1) / (enlarged - 1))
    low = np.minimum(at.astype(int), cut - 2)
    share = (at - low).astype(picture.dtype)
    low += first
    rows = share[:, None, None]
    tall = picture[low] * (1 - rows) + picture[low + 1] * rows
    columns = share[None, :, None]
    return tall[:, low] * (1 - columns) + tall[:, low + 1] * columns


@dataclass
class PlusFog(SensorNoise):
    """Fog: a white cloud is added and the contrast falls. Another cloud in every frame."""

    name = "plus_fog"
    # Density, and by how much finer structure is weaker: small numbers are a ragged cloud.
    _TABLE = (
        (0.5, 3.0), (1.0, 2.8), (1.5, 2.5), (2.0, 2.2), (2.5, 2.0),
        (3.0, 1.8), (3.5, 1.6), (4.0, 1.5), (4.5, 1.4), (5.0, 1.3),
    )  # fmt: skip

    def damage(self, picture: np.ndarray) -> np.ndarray:
        density, decay = self._TABLE[self.severity - 1]
        sound = picture / 255.0
        brightest = sound.max()
        foggy = sound + density * _cloud(decay, self._rng)[..., None]
        return _levels(foggy * brightest / (brightest + density))


def _cloud(decay: float, rng: np.random.Generator) -> np.ndarray:
    """(256, 256) from 0 to 1: a fractal by the diamond-square rule, on a torus.

    A new point is the mean of its four neighbours plus noise, and with each halving of the distance
    the noise is weaker. ImageNet-C multiplies noise that has the wibble as its limit by the wibble
    once more; so the noise falls with the square of `decay`.
    """
    cloud, wibble, step = np.zeros((SIZE, SIZE)), 100.0, SIZE

    def noise(of: np.ndarray) -> np.ndarray:
        return wibble * rng.uniform(-wibble, wibble, of.shape)

    while step >= 2:
        half = step // 2
        corners = cloud[::step, ::step]
        pairs = corners + np.roll(corners, -1, axis=0)
        centres = (pairs + np.roll(pairs, -1, axis=1)) / 4 + noise(corners)
        cloud[half::step, half::step] = centres
        across = corners + np.roll(corners, -1, axis=1) + centres + np.roll(centres, 1, axis=0)
        cloud[::step, half::step] = across / 4 + noise(corners)
        down = corners + np.roll(corners, -1, axis=0) + centres + np.roll(centres, 1, axis=1)
        cloud[half::step, ::step] = down / 4 + noise(corners)
        step, wibble = half, wibble / decay
    cloud -= cloud.min()
    return cloud / cloud.max()


@dataclass
class PlusGlassBlur(SensorNoise):
    """As through frosted glass: blurred, pixels exchanged with near ones, blurred again."""

    name = "plus_glass_blur"
    # Standard deviation of both blurs, how far pixels go, and how often.
    _TABLE = (
        (0.5, 1, 3), (0.7, 1, 3), (0.9, 2, 3), (1.0, 2, 2), (1.1, 3, 2),
        (1.3, 3, 2), (1.5, 4, 2), (1.8, 4, 2), (2.2, 5, 1), (2.5, 5, 1),
    )  # fmt: skip

    def damage(self, picture: np.ndarray) -> np.ndarray:
        sigma, reach, times = self._TABLE[self.severity - 1]
        moved = _levels(_gaussian(picture / 255.0, sigma)).reshape(-1, 3)
        for _ in range(times):
            moved = moved[_shuffled(reach, self._rng)]
        return _levels(_gaussian(moved.reshape(picture.shape) / 255.0, sigma))


def _shuffled(reach: int, rng: np.random.Generator) -> np.ndarray:
    """(256 * 256,) which pixel comes to each place.

    From the last row and column to the first, each pixel takes the value of a near one. That one
    may have taken another's already, which is why a value can travel far. ImageNet-C means to
    exchange the two, but its arrays are views: the near one keeps its value.
    """
    line = np.arange(GLASS_EXTENT - reach, reach, -1)
    places = (line[:, None] * SIZE + line).ravel()
    offsets = rng.integers(-reach, reach, (places.size, 2))
    sources = places + offsets[:, 1] * SIZE + offsets[:, 0]
    # Number in the order of exchange; a pixel that is not exchanged comes after all of them.
    turn = np.full(SIZE * SIZE, places.size)
    turn[places] = np.arange(places.size)
    own = np.arange(places.size)
    # Follow values back to one that nobody had changed before, in steps of doubling length.
    before = np.where(turn[sources] < own, turn[sources], own)
    while True:
        further = before[before]
        if np.array_equal(further, before):
            break
        before = further
    taken = np.arange(SIZE * SIZE)
    taken[places] = sources[before]
    return taken


# In the order of LIBERO-plus' numbers, ten each.
SENSOR_NOISE: dict[str, type[SensorNoise]] = {
    noise.name: noise
    for noise in (PlusMotionBlur, PlusGaussianBlur, PlusZoomBlur, PlusFog, PlusGlassBlur)
}
