"""Every fault by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from multismolvla.sensing.corruptions.blank import Black, Constant, White
from multismolvla.sensing.corruptions.blur import Defocus, MotionBlur
from multismolvla.sensing.corruptions.delivery_faults import (
    BurstLoss,
    Delay,
    Drop,
    Frozen,
    Jitter,
    Late,
    LowRate,
)
from multismolvla.sensing.corruptions.depth_faults import DepthScale, NanDepth
from multismolvla.sensing.corruptions.fault import Fault
from multismolvla.sensing.corruptions.lighting import ColourCast, Exposure, Glare
from multismolvla.sensing.corruptions.message_faults import (
    TruncatedData,
    WrongEncoding,
    WrongResolution,
)
from multismolvla.sensing.corruptions.noise import GaussianNoise, SaltAndPepper
from multismolvla.sensing.corruptions.occlusion import Occlusion
from multismolvla.sensing.corruptions.shifted_view import ShiftedView
from multismolvla.sensing.corruptions.smoke import Smoke
from multismolvla.sensing.corruptions.stamp_faults import (
    DuplicateStamp,
    Reorder,
    StampDrift,
    StampJump,
    StampOffset,
)
from multismolvla.sensing.corruptions.thermal_drift import ThermalDrift

FAULTS: dict[str, type[Fault]] = {
    fault.name: fault
    for fault in (
        Drop,
        BurstLoss,
        LowRate,
        Delay,
        Jitter,
        Late,
        Frozen,
        GaussianNoise,
        SaltAndPepper,
        MotionBlur,
        Defocus,
        Occlusion,
        Black,
        White,
        Constant,
        ColourCast,
        Exposure,
        Glare,
        Smoke,
        ShiftedView,
        NanDepth,
        DepthScale,
        ThermalDrift,
        WrongResolution,
        WrongEncoding,
        TruncatedData,
        StampOffset,
        StampDrift,
        StampJump,
        DuplicateStamp,
        Reorder,
    )
}


def find_fault(name: str) -> type[Fault]:
    """Return the class of a fault.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in FAULTS:
        raise ValueError(f"unknown fault '{name}'; expected {', '.join(FAULTS)}")
    return FAULTS[name]


def make_fault(
    name: str,
    kind: str,
    seed: int = 0,
    severity: int | None = None,
    parameters: Mapping[str, float] | None = None,
) -> Fault:
    """Make a fault from what a person writes.

    Args:
        severity: 1 to 5, None for 3.
        parameters: values that take precedence over those of the severity.

    Raises:
        ValueError: unknown fault or parameter, a value out of range, or a kind of stream that the
            fault cannot befall; one line.
    """
    fault = find_fault(name)
    made = fault.at_severity(kind, 3 if severity is None else severity, seed)
    names = [declared.name for declared in fault.parameters()]
    for key, value in (parameters or {}).items():
        if key not in names:
            known = ", ".join(names) or "none, for it has no parameters"
            raise ValueError(f"{name}: unknown parameter '{key}'; expected {known}")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{name}: {key} is {value!r}; expected a number")
    return replace(made, **(parameters or {}))
