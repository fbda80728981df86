"""What a fault is: frames in, fewer, later or worse frames out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any, ClassVar, TypeVar

import numpy as np

from multismolvla.modalities.modality import Modality
from multismolvla.modalities.registry import find_modality, modalities

SEVERITIES = (1, 2, 3, 4, 5)
# Not a camera, but messages with stamps too: it can have faults of delivery.
JOINT_STATES = "joint_states"


@dataclass(frozen=True)
class Delivery:
    """One frame on its way from a camera.

    Attributes:
        frame: in the unit of its kind, as `modalities.conversion.to_units` gives it, of any size;
            of joint states the positions.
        stamp_ns: when the camera says that it was taken.
        arrive_ns: when it reaches the sensor node.
        encoding: the wrong encoding that its message claims, "" for the right one.
        share: of its message's bytes that come.
        source: what it came in; carried along, never looked at.
    """

    frame: np.ndarray
    stamp_ns: int
    arrive_ns: int
    encoding: str = ""
    share: float = 1.0
    source: Any = None

    @property
    def unreadable(self) -> str:
        """Why the message cannot be decoded, "" if it can."""
        if self.encoding:
            return f"encoding is '{self.encoding}'"
        if self.share < 1.0:
            return f"it holds {self.share:.0%} of its bytes: it is truncated"
        return ""


def parameter(
    unit: str, minimum: float, maximum: float, severities: tuple[float, ...], description: str
) -> Any:
    """Declare a fault's parameter; its default is that of severity 3.

    Args:
        unit, minimum, maximum: what values mean and the inclusive range they are checked against.
        severities: value at severity 1, 2, 3, 4 and 5; one value if severity does not change it.
    """
    values = severities if len(severities) == len(SEVERITIES) else severities * len(SEVERITIES)
    metadata = {
        "unit": unit,
        "minimum": minimum,
        "maximum": maximum,
        "severities": values,
        "description": description,
    }
    return field(default=values[2], metadata=metadata, kw_only=True)


_Fault = TypeVar("_Fault", bound="Fault")


@dataclass
class Fault(ABC):
    """A fault of one stream. The same seed and the same frames give the same damage.

    Feed every frame of the stream, in order, to `apply` while the fault lasts.

    Attributes:
        kind: of the stream, one of `kinds()`.
        seed: of the fault's random numbers.
        damages_joint_states: whether joint states can have it too.
        levels: the severities that it has.
    """

    kind: str
    seed: int = 0
    name: ClassVar[str]
    damages_joint_states: ClassVar[bool] = True
    levels: ClassVar[tuple[int, ...]] = SEVERITIES

    def __post_init__(self) -> None:
        if self.kind not in self.kinds():
            raise ValueError(
                f"{self.name}: kind is '{self.kind}'; expected {', '.join(self.kinds())}"
            )
        for declared in self.parameters():
            value, limits = getattr(self, declared.name), declared.metadata
            # `not <=` and not `>`: a NaN is out of every range.
            if not limits["minimum"] <= value <= limits["maximum"]:
                raise ValueError(
                    f"{self.name}: {declared.name} is {value}; "
                    f"expected {limits['minimum']:g} to {limits['maximum']:g} {limits['unit']}"
                )
        self._rng = np.random.default_rng(self.seed)

    @classmethod
    def suits(cls, modality: Modality) -> bool:
        """Whether streams of this kind can have it."""
        return True

    @classmethod
    def kinds(cls) -> tuple[str, ...]:
        """The kinds of stream that can have it, `JOINT_STATES` last."""
        able = tuple(modality.name for modality in modalities() if cls.suits(modality))
        return (*able, JOINT_STATES) if cls.damages_joint_states else able

    @classmethod
    def parameters(cls) -> tuple[Field, ...]:
        """The declared parameters, with range, unit and description in their metadata."""
        return tuple(declared for declared in fields(cls) if "severities" in declared.metadata)

    @classmethod
    def at_severity(cls: type[_Fault], kind: str, severity: int, seed: int = 0) -> _Fault:
        """Make the fault with the parameters of a severity from 1 to 5.

        Raises:
            ValueError: there is no such severity.
        """
        if severity not in SEVERITIES:
            raise ValueError(f"{cls.name}: severity is {severity}; expected 1 to 5")
        values = {
            declared.name: declared.metadata["severities"][severity - 1]
            for declared in cls.parameters()
        }
        return cls(kind, seed, **values)

    @classmethod
    def has_severity(cls) -> bool:
        """Whether the severity changes anything."""
        return any(len(set(declared.metadata["severities"])) > 1 for declared in cls.parameters())

    @abstractmethod
    def apply(self, delivery: Delivery) -> list[Delivery]:
        """Return what becomes of a frame: nothing, or deliveries of now or of later."""


class PictureFault(Fault):
    """A fault of the pixels: frames come as they should and show something else."""

    damages_joint_states = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._modality = find_modality(self.kind)
        self._first_ns: int | None = None
        # How long the fault has lasted, by the frames' stamps.
        self._since_s = 0.0

    def apply(self, delivery: Delivery) -> list[Delivery]:
        if self._first_ns is None:
            self._first_ns = delivery.stamp_ns
        self._since_s = (delivery.stamp_ns - self._first_ns) * 1e-9
        return [replace(delivery, frame=self.corrupt(delivery.frame))]

    @abstractmethod
    def corrupt(self, frame: np.ndarray) -> np.ndarray:
        """Return the damaged frame: a new array of the same shape and type."""


class FrameFault(PictureFault):
    """One that any kind of stream can have, milder and worse: training damages frames with these.

    What belongs here is what checkpoints have been trained with; other faults of pixels derive
    from `PictureFault`.
    """


@dataclass
class TimedFault:
    """A fault that lasts from one instant to another.

    Attributes:
        start_ns, end_ns: first instant of the fault and first one after it; None is never.
    """

    fault: Fault
    start_ns: int = 0
    end_ns: int | None = None

    def active(self, now_ns: int) -> bool:
        """Whether the fault is there at this instant."""
        return self.start_ns <= now_ns and (self.end_ns is None or now_ns < self.end_ns)

    def apply(self, delivery: Delivery) -> list[Delivery]:
        """Damage what was taken while the fault lasts; pass on the rest."""
        return self.fault.apply(delivery) if self.active(delivery.stamp_ns) else [delivery]
