"""What a kind of image is: everything that code needs to know of its frames, as data.

Code gets a `Modality` and never compares its name. A new kind needs one description of
this form; see docs/modalities.md.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from multismolvla.modalities.thresholds import Thresholds
from multismolvla.setting import setting

AUTO, NONE = "auto", "none"
UINT8, UINT16, FLOAT32 = np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.float32)


class ModalityError(ValueError):
    """A description is wrong, or there is none of that name; one line."""


@dataclass(frozen=True)
class Guess:
    """A mistake about units that shows in the values: nearly all of them are in a range.

    Attributes:
        low, high: where the median is, in the unit that they were taken for.
        setting, value: what is probably right.
    """

    low: float
    high: float
    setting: str
    value: str


@dataclass(frozen=True)
class Counts:
    """What the numbers of a camera's raw frames mean; those of stored frames have the defaults.

    Integers: value = count * scale + offset, but for those of `no_value`. Floats are in `units`.
    Where cameras of a kind differ, a subclass declares a field as a setting: a parameter of the
    sensor node, and a key of `camera` in the stream table.

    Attributes:
        dtype: of the integers.
        scale, offset: in the unit of the kind.
        no_value: counts that say that there is no value, or `none`.
        units: of floats, a key of `UNITS`; `auto` for those of the kind, refused where a guess says
            that they are others.
        UNITS: name -> scale and offset to the unit of the kind, which comes first.
        GUESSES: of floats in units that are not known.
        COUNT_GUESSES: of integers.
    """

    UNITS: ClassVar[Mapping[str, tuple[float, float]]] = {}
    GUESSES: ClassVar[tuple[Guess, ...]] = ()
    COUNT_GUESSES: ClassVar[tuple[Guess, ...]] = ()

    dtype: np.dtype
    scale: float = 1.0
    offset: float = 0.0
    no_value: str = NONE
    units: str = AUTO

    def converted(self) -> Counts:
        """The same of a camera whose floats have been brought to the unit of the kind already."""
        return replace(self, units=next(iter(self.UNITS), AUTO))

    @functools.cached_property
    def missing(self) -> tuple[int, ...]:
        """The counts of `no_value`."""
        return () if self.no_value == NONE else tuple(map(int, self.no_value.split()))


def parse_no_value(given: object) -> str:
    """The text of `no_value` from one such as `0, 65535`, a count, or a list of them.

    Raises:
        ValueError: they are no counts of 16 bits; one line.
    """
    words = given.replace(",", " ").split() if isinstance(given, str) else given
    if isinstance(words, int):
        words = [words]
    try:
        counts = () if words == [NONE] else tuple(sorted({int(word) for word in words}))
    except (TypeError, ValueError):
        counts = (-1,)
    if any(not 0 <= count <= 65535 for count in counts):
        raise ValueError(f"no_value is {given!r}; expected counts such as '0 65535', or 'none'")
    return " ".join(map(str, counts)) or NONE


def no_value_setting(default: str) -> str:
    """Declares the field `no_value` of a kind's `Counts`."""
    return setting(
        default,
        "Counts that mean no value, such as '0 65535'; 'none' for no such count.",
        parse=parse_no_value,
    )


@dataclass(frozen=True)
class Damage:
    """What faults of the pixels mean, in the unit of the kind.

    Attributes:
        black: where the sensor counts nothing; NaN for no value.
        white: where it counts as far as it can.
        span: the whole range of values in a scene on a table; noise is a share of it.
        broken: the two values that a broken pixel shows.
        cover, cover_noise: what is close in front of the lens, such as a sleeve: its value, one
            number a channel, and the deviation of its texture.
        smoke: the value that smoke has, NaN if it swallows the value; None if it passes unseen.
    """

    black: float
    white: float
    span: float
    broken: tuple[float, float]
    cover: tuple[float, ...]
    cover_noise: float
    smoke: float | None = None


@dataclass(frozen=True)
class Relief:
    """A channel for how much nearer than its surroundings each pixel is.

    Attributes:
        scale: difference that counts as 1.
        width: of the surroundings, as a share of the picture's.
        most: the channel is clipped here.
    """

    scale: float
    width: float
    most: float


@dataclass(frozen=True)
class Preparation:
    """What the policy's network reads: (value / full - centre) / scale, then further channels.

    Attributes:
        centre, scale: one number a channel of the frame.
        full: value that counts as 1 before that.
        validity: adds a channel that is 1 where there is a value, which distinguishes a hole from a
            surface.
        relief: adds that channel.
    """

    centre: tuple[float, ...] = (0.0,)
    scale: tuple[float, ...] = (1.0,)
    full: float = 1.0
    validity: bool = False
    relief: Relief | None = None


@dataclass(frozen=True)
class PosePicture:
    """What the network of the pose check reads: (value - centre) / scale, clipped.

    Attributes:
        labels: those that it is shown, one channel each; objects lie wherever they like.
    """

    centre: float
    scale: float
    low: float = -math.inf
    high: float = math.inf
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Variation:
    """How training varies stored frames: an error a frame, blotches and noise as shares of it.

    Attributes:
        error: standard deviation of a frame's error, in the unit of the kind.
        key: of the recipe's `augment` section, which has the error instead; "" for none.
    """

    blotches: float
    noise: float
    error: float = 0.0
    key: str = ""


@dataclass(frozen=True)
class Colours:
    """How values become colours for people: a fixed range, so that one colour is one value.

    Attributes:
        low, high: ends of the range.
        colormap: of OpenCV.
        reverse: whether `low` gets the last colour.
        palette: one BGR colour a label instead.
    """

    low: float = 0.0
    high: float = 1.0
    colormap: int = 0
    reverse: bool = False
    palette: tuple[tuple[int, int, int], ...] = ()


@dataclass(frozen=True)
class Modality:
    """One kind of image.

    Attributes:
        name: of the kind: the last word of its streams' names, the start of its node's name.
        unit: of a pixel's value, for people.
        dtype: of frames in units, (H, W, 3) uint8 for colours, (H, W) uint8 or float32 else; a
            float that is NaN has no value.
        channels: 3 for colours, 1 for everything else.
        labels: what the values of a label image mean; empty where pixels are values.
        no_return: a value that is not positive and finite is none: nothing came back.
        blends: whether the mean of two neighbours is a value as good as theirs. It is not for
            labels, nor for distances: the mean over an edge lies on neither side of it.
        encoding: of conditioned images (sensor_msgs/Image).
        raw_encodings: of the raw images that the sensor node takes as they are, the first one that
            of stored frames; empty if it converts every image to `encoding`.
        counts: the integers of raw and stored frames.
        health: when a stream counts as damaged, and what is judged at all.
        pixel_step: what counts as a change of one pixel; well above the noise of such cameras.
        scene: range of values of a scene on a table, for made-up frames.
    """

    name: str
    unit: str
    dtype: np.dtype
    encoding: str
    counts: Counts
    damage: Damage
    prepare: Preparation
    pose: PosePicture
    colours: Colours
    pixel_step: float
    scene: tuple[float, float]
    channels: int = 1
    labels: tuple[str, ...] = ()
    no_return: bool = False
    blends: bool = True
    raw_encodings: tuple[str, ...] = ()
    health: Thresholds = field(default_factory=Thresholds)
    vary: Variation | None = None

    def __post_init__(self) -> None:
        counts, cover, colours = self.counts, self.damage.cover, self.channels == 3
        width = len(self.prepare.centre), len(self.prepare.scale)
        own_counts = self.is_float or counts == Counts(UINT8)
        checks = (
            ("name", self.name, "lower-case letters, digits and _", self._has_a_fit_name()),
            ("dtype", self.dtype, "uint8 or float32", self.dtype in (UINT8, FLOAT32)),
            ("channels", self.channels, "1 or 3", self.channels in (1, 3)),
            ("dtype", self.dtype, "uint8", self.dtype == UINT8 or not (colours or self.labels)),
            ("counts.dtype", counts.dtype, "uint8 or uint16", counts.dtype in (UINT8, UINT16)),
            ("counts", counts, "those of uint8, as the dtype is", own_counts),
            ("counts.scale", counts.scale, "a positive number", counts.scale > 0.0),
            ("no_return", True, "floats, 0 at a count of 0", self._counts_from_zero()),
            ("prepare", width, "numbers for each channel", width == (self.channels,) * 2),
            ("damage.cover", cover, "a number for each channel", len(cover) == self.channels),
        )
        for key, value, expected, fits in checks:
            if not fits:
                raise ModalityError(
                    f"modality '{self.name}': {key} is {value}; expected {expected}"
                )

    def _has_a_fit_name(self) -> bool:
        return re.fullmatch(r"[a-z][a-z0-9_]*", self.name) is not None

    def _counts_from_zero(self) -> bool:
        return not self.no_return or (self.is_float and self.counts.offset == 0.0)

    @property
    def is_float(self) -> bool:
        """Whether frames hold values with a unit, of which some may be missing."""
        return self.dtype == FLOAT32

    @property
    def has_holes(self) -> bool:
        """Whether a stored count of 0 stands for no value."""
        return self.no_return or (self.is_float and 0 in self.counts.missing)

    @property
    def decoded_as(self) -> str:
        """The encoding that a raw image is turned into."""
        return "passthrough" if self.raw_encodings else self.encoding

    @property
    def stored_encoding(self) -> str:
        """The encoding of stored frames, which the sensor node takes as a raw image."""
        return self.raw_encodings[0] if self.raw_encodings else self.encoding

    @property
    def prepared_channels(self) -> int:
        """Channels of what the policy's network reads."""
        if self.labels:
            return len(self.labels)
        return self.channels + self.prepare.validity + (self.prepare.relief is not None)

    @property
    def pose_channels(self) -> int:
        """Channels of what the network of the pose check reads."""
        return len(self.pose.labels) if self.labels else self.channels + self.no_return

    @property
    def trailing(self) -> tuple[int, ...]:
        """What follows height and width in a frame's shape."""
        return (3,) if self.channels == 3 else ()

    def shape(self, height: int, width: int) -> tuple[int, ...]:
        """Of a frame."""
        return (height, width, *self.trailing)

    def as_frame(self, values: np.ndarray) -> np.ndarray:
        """Values (H, W[, 3]) as a frame of this kind: integers are rounded and clipped."""
        if self.is_float:
            return values.astype(np.float32)
        return np.rint(values).clip(0, 255).astype(np.uint8)
