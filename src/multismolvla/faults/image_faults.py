"""Faults of frames, one class each; `registry` lists them."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

import cv2
import numpy as np

from multismolvla.faults.fault import Delivery, FrameFault, PictureFault, parameter
from multismolvla.modalities.modality import Modality

# Frames without content: black, white, and of one value.


class Blank(PictureFault):
    """Every pixel has the same value."""

    def corrupt(self, frame: np.ndarray) -> np.ndarray:
        return np.full_like(frame, self._value())

    @abstractmethod
    def _value(self) -> float:
        """What every pixel shows."""


@dataclass
class Black(Blank):
    """The sensor counts nothing: no light, no return, no temperature, the label 0."""

    name = "black"

    def _value(self) -> float:
        return self._modality.damage.black


@dataclass
class White(Blank):
    """The sensor counts as far as it can; of labels, the last."""

    name = "white"

    def _value(self) -> float:
        return self._modality.damage.white


@dataclass
class Constant(Blank):
    """The sensor shows one value in between."""

    name = "constant"
    level: float = parameter(
        "of the range", 0.01, 1.0, (0.5,), "the value; range: 255 levels, 1 m, 40 degrees, labels"
    )  # fmt: skip

    def _value(self) -> float:
        value = self.level * self._modality.damage.span
        return value if self._modality.is_float else round(value)


# Blur: of a camera that shakes, and of one out of focus.


class Blur(FrameFault):
    """Spreads every pixel over its surroundings; a pixel without a value stays without."""

    def corrupt(self, frame: np.ndarray) -> np.ndarray:
        kernel = self._kernel(frame.shape[1])
        if self._modality.labels:
            return self._scattered(frame, kernel)
        if not self._modality.is_float:
            return cv2.filter2D(frame, -1, kernel, borderType=cv2.BORDER_REPLICATE)
        present = np.isfinite(frame)
        filled = np.where(present, frame, 0.0).astype(np.float32)
        total = cv2.filter2D(filled, -1, kernel, borderType=cv2.BORDER_REPLICATE)
        weight = cv2.filter2D(
            present.astype(np.float32), -1, kernel, borderType=cv2.BORDER_REPLICATE
        )
        blurred = np.full_like(filled, np.nan)
        np.divide(total, weight, out=blurred, where=present & (weight > 0.0))
        return blurred.astype(frame.dtype)

    def _scattered(self, frame: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        """Labels cannot be mixed: each pixel takes that of one pixel of those it would mix."""
        height, width = frame.shape
        reach = len(kernel) // 2
        # In float64: the sum of a float32 kernel may miss 1 by more than `choice` puts up with.
        weights = kernel.ravel().astype(float)
        drawn = self._rng.choice(kernel.size, frame.shape, p=weights / weights.sum())
        rows = np.arange(height)[:, None] + drawn // len(kernel) - reach
        columns = np.arange(width)[None, :] + drawn % len(kernel) - reach
        return frame[rows.clip(0, height - 1), columns.clip(0, width - 1)]

    @abstractmethod
    def _kernel(self, width: int) -> np.ndarray:
        """What a pixel is spread into, (K, K) float32 with sum 1."""


@dataclass
class MotionBlur(Blur):
    """Motion blur along a line of changing direction, as from a shaking mount."""

    name = "motion_blur"
    length: float = parameter(
        "of the width", 0.0, 1.0, (0.03, 0.06, 0.1, 0.16, 0.25), "length of the smear"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._angle = self._rng.uniform(0.0, math.pi)

    def _kernel(self, width: int) -> np.ndarray:
        self._angle += self._rng.normal(0.0, 0.3)
        half = 0.5 * max(0.0, self.length * width - 1.0)
        reach = math.ceil(half)
        kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
        for along in np.linspace(-half, half, 4 * reach + 1):
            x, y = reach + along * math.cos(self._angle), reach + along * math.sin(self._angle)
            left, top = math.floor(x), math.floor(y)
            for column, row in ((left, top), (left + 1, top), (left, top + 1), (left + 1, top + 1)):
                weight = max(0.0, 1.0 - abs(x - column)) * max(0.0, 1.0 - abs(y - row))
                if weight > 0.0:
                    kernel[row, column] += weight
        return kernel / kernel.sum()


@dataclass
class Defocus(Blur):
    """Every point becomes a disc."""

    name = "defocus"
    radius: float = parameter(
        "of the width", 0.0, 0.5, (0.015, 0.03, 0.05, 0.08, 0.12), "radius of the disc"
    )

    def _kernel(self, width: int) -> np.ndarray:
        radius = max(0.5, self.radius * width)
        reach = math.ceil(radius)
        along = np.arange(-reach, reach + 1)
        distance = np.hypot(along[:, None], along[None, :])
        # The edge of the disc covers part of its pixels.
        kernel = np.clip(radius + 0.5 - distance, 0.0, 1.0).astype(np.float32)
        return kernel / kernel.sum()


# Noise: of every pixel a little, or of a few pixels everything.


@dataclass
class GaussianNoise(FrameFault):
    """Independent noise on every value; on labels, a share of the pixels with any label."""

    name = "noise"
    sigma: float = parameter(
        "of the range", 0.0, 1.0, (0.04, 0.08, 0.16, 0.25, 0.4),
        "standard deviation; range: 255 levels, 1 m, 40 degrees; labels: share of wrong pixels",
    )  # fmt: skip

    def corrupt(self, frame: np.ndarray) -> np.ndarray:
        if self._modality.labels:
            return _wrong_labels(self._modality, frame, self.sigma, self._rng)
        noise = self._rng.standard_normal(frame.shape, dtype=np.float32)
        return self._modality.as_frame(
            frame + noise * np.float32(self.sigma * self._modality.damage.span)
        )


@dataclass
class AlphaBlend(PictureFault):
    """The signal fades into noise; of labels, ever fewer pixels are right. At 0 none is left.

    The corruption by which EPFL's MultiSmolVLA was judged. No training damages frames with it.
    """

    name = "alpha_blend"
    alpha: float = parameter(
        "share", 0.0, 1.0, (0.8, 0.6, 0.4, 0.2, 0.0), "share of the signal; the rest is noise"
    )

    def corrupt(self, frame: np.ndarray) -> np.ndarray:
        if self._modality.labels:
            return _wrong_labels(self._modality, frame, 1.0 - self.alpha, self._rng)
        noise = self._rng.random(frame.shape, dtype=np.float32)
        noise *= np.float32(self._modality.damage.span)
        if self._modality.is_float and np.isfinite(frame).any():
            # Around what the scene measures: 40 degrees of noise from 0 would be a colder room.
            noise += np.float32(np.nanmedian(frame) - 0.5 * self._modality.damage.span)
        mixed = self.alpha * frame.astype(np.float32) + np.float32(1.0 - self.alpha) * noise
        return self._modality.as_frame(mixed)


@dataclass
class SaltAndPepper(FrameFault):
    """Pixels that show one end of the range or the other."""

    name = "salt_and_pepper"
    share: float = parameter(
        "of the pixels", 0.0, 1.0, (0.01, 0.03, 0.08, 0.15, 0.3), "share of broken pixels"
    )

    def corrupt(self, frame: np.ndarray) -> np.ndarray:
        if self._modality.labels:
            return _wrong_labels(self._modality, frame, self.share, self._rng)
        luck = self._rng.random(frame.shape[:2])
        low, high = self._modality.damage.broken
        broken = frame.copy()
        broken[luck < self.share / 2] = low
        broken[luck > 1.0 - self.share / 2] = high
        return broken


def _wrong_labels(
    modality: Modality, frame: np.ndarray, share: float, rng: np.random.Generator
) -> np.ndarray:
    wrong = rng.random(frame.shape) < share
    labels = rng.integers(0, len(modality.labels), frame.shape, dtype=np.uint8)
    return np.where(wrong, labels, frame)


# The light is wrong: its colour, its amount, or a lamp that shines into the lens.

# Frames are stored with about this exponent: twice the light is 1.37 times the level.
GAMMA = 2.2


class ColourFault(PictureFault):
    """One that only colour cameras can have."""

    @classmethod
    def suits(cls, modality: Modality) -> bool:
        return modality.channels == 3


@dataclass
class ColourCast(ColourFault):
    """The light, or the white balance, removes part of the colours."""

    name = "colour_cast"
    strength: float = parameter(
        "of the level", 0.0, 1.0, (0.1, 0.2, 0.35, 0.5, 0.7), "loss of the weakest colour"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        hue = self._rng.uniform(0.0, 2.0 * math.pi) + np.arange(3) * (2.0 * math.pi / 3.0)
        self._lost = 0.5 + 0.5 * np.cos(hue)
        self._lost /= self._lost.max()

    def corrupt(self, frame: np.ndarray) -> np.ndarray:
        return np.rint(frame * (1.0 - self.strength * self._lost)).astype(np.uint8)


@dataclass
class Exposure(ColourFault):
    """Too much light, or with negative stops too little."""

    name = "exposure"
    stops: float = parameter(
        "stops", -16.0, 16.0, (0.7, 1.3, 2.0, 3.0, 5.0), "powers of two of the light"
    )

    def corrupt(self, frame: np.ndarray) -> np.ndarray:
        gain = 2.0 ** (self.stops / GAMMA)
        return np.rint(frame * gain).clip(0, 255).astype(np.uint8)


@dataclass
class Glare(ColourFault):
    """A lamp or the sun in the view: a white disc with a halo around it."""

    name = "glare"
    share: float = parameter(
        "of the frame", 0.0, 1.0, (0.01, 0.03, 0.08, 0.2, 0.4), "area that is white"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._centre = self._rng.uniform(0.25, 0.75, 2)

    def corrupt(self, frame: np.ndarray) -> np.ndarray:
        height, width = frame.shape[:2]
        rows = np.arange(height) + 0.5 - self._centre[0] * height
        columns = np.arange(width) + 0.5 - self._centre[1] * width
        squared = rows[:, None] ** 2 + columns[None, :] ** 2
        area = max(1e-9, self.share * height * width / math.pi)
        # As much light as the whole range on the edge of the disc, halved with every disc further.
        light = 255.0 * 2.0 ** (1.0 - squared / area)
        return np.rint(frame + light[..., None]).clip(0, 255).astype(np.uint8)


# Something in front of the lens.


@dataclass
class Occlusion(FrameFault):
    """An ellipse that covers part of the view: a live surface, not a constant one.

    It hangs still or swings to and fro, once every `period_s`.
    """

    name = "occlusion"
    share: float = parameter(
        "of the frame", 0.0, 1.0, (0.1, 0.2, 0.35, 0.5, 0.75), "area that is covered"
    )
    period_s: float = parameter("s", 0.0, 60.0, (0.0,), "time of one swing; 0 hangs still")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._centre = self._rng.uniform(0.3, 0.7, 2)
        self._aspect = self._rng.uniform(0.7, 1.4)
        self._swing = self._rng.uniform(0.0, 2.0 * math.pi)
        self._time_s = 0.0

    def apply(self, delivery: Delivery) -> list[Delivery]:
        self._time_s = delivery.stamp_ns * 1e-9
        return super().apply(delivery)

    def corrupt(self, frame: np.ndarray) -> np.ndarray:
        covered = self._covered(*frame.shape[:2])
        noise = self._rng.standard_normal(frame.shape[:2], dtype=np.float32)
        damage = self._modality.damage
        surface = np.array(damage.cover, np.float32) + damage.cover_noise * noise[..., None]
        damaged = frame.copy()
        damaged[covered] = self._modality.as_frame(surface.reshape(frame.shape))[covered]
        return damaged

    def _covered(self, height: int, width: int) -> np.ndarray:
        """(height, width) bool, with exactly the requested share of the pixels."""
        x, y = self._centre
        if self.period_s > 0.0:
            x += 0.35 * math.sin(2.0 * math.pi * self._time_s / self.period_s + self._swing)
        rows = (np.arange(height) + 0.5) / height - y
        columns = (np.arange(width) + 0.5) / width - x
        distance = np.hypot(rows[:, None] * self._aspect, columns[None, :] / self._aspect)
        # Where the frame cuts the ellipse off, it grows to the other side.
        count = round(self.share * distance.size)
        if count == 0:
            return np.zeros(distance.shape, bool)
        return distance <= np.partition(distance.ravel(), count - 1)[count - 1]


# A camera that was knocked: it does not look where its calibration says.


@dataclass
class ShiftedView(PictureFault):
    """The frame is shifted and rotated, permanently.

    New pixels at the edges repeat the edge; of depth they have no value.
    """

    name = "shifted_view"
    shift: float = parameter(
        "of the width", 0.0, 1.0, (0.02, 0.05, 0.1, 0.15, 0.25), "distance, in any direction"
    )
    turn: float = parameter(
        "degrees", 0.0, 180.0, (0.5, 1.0, 2.0, 4.0, 8.0), "rotation, in either direction"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._direction = self._rng.uniform(0.0, 2.0 * math.pi)
        self._sign = self._rng.choice((-1.0, 1.0))

    def corrupt(self, frame: np.ndarray) -> np.ndarray:
        height, width = frame.shape[:2]
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), self._sign * self.turn, 1.0)
        matrix[:, 2] += (
            self.shift * width * np.array((math.cos(self._direction), math.sin(self._direction)))
        )
        mixed = cv2.INTER_LINEAR if self._modality.blends else cv2.INTER_NEAREST
        border = cv2.BORDER_CONSTANT if self._modality.no_return else cv2.BORDER_REPLICATE
        return cv2.warpAffine(
            frame, matrix, (width, height), flags=mixed, borderMode=border, borderValue=math.nan
        )


# Smoke, steam or fog between camera and scene.

# Swathes across the frame, and the time in which one turns into another.
SWATHES, TURN_S = 5, 4.0


@dataclass
class Smoke(PictureFault):
    """Swathes that drift: they bleach colours and absorb depth returns.

    Long-wave infrared passes through, so a thermal camera sees none of it.
    """

    name = "smoke"
    density: float = parameter(
        "of the light", 0.0, 1.0, (0.2, 0.35, 0.5, 0.7, 0.9), "average share that is absorbed"
    )

    @classmethod
    def suits(cls, modality: Modality) -> bool:
        return modality.damage.smoke is not None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._swathes = self._rng.standard_normal((2, SWATHES, SWATHES))

    def corrupt(self, frame: np.ndarray) -> np.ndarray:
        opacity = self._opacity(*frame.shape[:2])
        smoke = self._modality.damage.smoke
        if not math.isnan(smoke):
            share = opacity.reshape(*opacity.shape, *[1] * (frame.ndim - 2))
            return self._modality.as_frame(frame + (smoke - frame) * share)
        swallowed = self._rng.random(frame.shape, dtype=np.float32) < opacity
        return np.where(swallowed, np.float32(np.nan), frame)

    def _opacity(self, height: int, width: int) -> np.ndarray:
        """(height, width) share of the light that is swallowed."""
        angle = 2.0 * math.pi * self._since_s / TURN_S
        swathes = math.cos(angle) * self._swathes[0] + math.sin(angle) * self._swathes[1]
        field = cv2.resize(swathes, (width, height), interpolation=cv2.INTER_CUBIC)
        return (self.density * (1.0 + 0.3 * field)).clip(0.0, 1.0)


# A thermal camera that warms up without looking at its shutter.


@dataclass
class ThermalDrift(PictureFault):
    """All temperatures rise or fall, ever further, up to a limit."""

    name = "thermal_drift"
    rate: float = parameter(
        "degrees/s", -50.0, 50.0, (0.2, 0.5, 1.0, 3.0, 10.0), "speed of the drift"
    )
    limit: float = parameter("degrees", 0.0, 500.0, (30.0,), "limit of the drift")

    @classmethod
    def suits(cls, modality: Modality) -> bool:
        return modality.name == "thermal"

    def corrupt(self, frame: np.ndarray) -> np.ndarray:
        drift = np.clip(self.rate * self._since_s, -self.limit, self.limit)
        return (frame + drift).astype(frame.dtype)


# Faults of depth cameras: pixels without a return, and a wrong scale.

# Width of holes, share of the frame's width.
HOLE_SHARE = 1 / 12


class DistanceFault(PictureFault):
    """One that only sensors can have to which something must come back."""

    @classmethod
    def suits(cls, modality: Modality) -> bool:
        return modality.no_return


@dataclass
class NanDepth(DistanceFault):
    """Holes: sunlight, glass, black cloth. They come and go from frame to frame."""

    name = "nan_depth"
    share: float = parameter(
        "of the pixels", 0.0, 1.0, (0.1, 0.25, 0.45, 0.7, 1.0), "pixels that lose their value"
    )

    def corrupt(self, frame: np.ndarray) -> np.ndarray:
        height, width = frame.shape
        cells = round(1 / HOLE_SHARE)
        field = self._rng.standard_normal((cells, cells)).astype(np.float32)
        field = cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC)
        count = round(self.share * frame.size)
        holed = frame.copy()
        if count:
            holed[field <= np.partition(field.ravel(), count - 1)[count - 1]] = np.nan
        return holed


@dataclass
class DepthScale(DistanceFault):
    """All distances are too long or too short: a wrong unit, a baseline that has bent."""

    name = "depth_scale"
    factor: float = parameter(
        "of the distance",
        0.1,
        10.0,
        (1.03, 1.07, 1.15, 1.3, 1.6),
        "factor on distances",
    )

    def corrupt(self, frame: np.ndarray) -> np.ndarray:
        return frame * np.float32(self.factor)
