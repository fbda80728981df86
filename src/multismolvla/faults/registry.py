"""All faults by name, and the table of them for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from multismolvla.faults.fault import Fault
from multismolvla.faults.image_faults import (
    AlphaBlend,
    Black,
    ColourCast,
    Constant,
    Defocus,
    DepthScale,
    Exposure,
    GaussianNoise,
    Glare,
    MotionBlur,
    NanDepth,
    Occlusion,
    SaltAndPepper,
    ShiftedView,
    Smoke,
    ThermalDrift,
    White,
)
from multismolvla.faults.message_faults import (
    BurstLoss,
    Delay,
    Drop,
    DuplicateStamp,
    Frozen,
    Jitter,
    Late,
    LowRate,
    Reorder,
    StampDrift,
    StampJump,
    StampOffset,
    TruncatedData,
    WrongEncoding,
    WrongResolution,
)
from multismolvla.markdown import table
from multismolvla.modalities.registry import modalities

# Every fault by name.

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
        AlphaBlend,
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
            fault does not apply to; one line.
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


# Every fault with its parameters as a table in Markdown, for the documents and the command.

HEADER = ["fault", "what it is", "streams", "parameter", "unit", "range", "severity 1", *"2345"]


def fault_table() -> list[str]:
    """The lines of the table, a row for each parameter and for each fault without one."""
    return table(HEADER, (row for fault in FAULTS.values() for row in _rows(fault))).splitlines()


def _rows(fault: type[Fault]) -> Iterator[list[str]]:
    summary = fault.__doc__.splitlines()[0].rstrip(".")
    first = [f"`{fault.name}`", summary, _streams(fault)]
    if not fault.parameters():
        yield [*first, *[""] * 8]
    for declared in fault.parameters():
        limits = declared.metadata
        values = [f"{value:.3g}" for value in limits["severities"]]
        if len(set(values)) == 1:
            values = [values[0], *[""] * 4]
        span = f"{limits['minimum']:g} to {limits['maximum']:g}"
        described = f"`{declared.name}`: {limits['description']}"
        yield [*first, described, limits["unit"], span, *values]
        first = [""] * 3


def _streams(fault: type[Fault]) -> str:
    able = [modality for modality in modalities() if fault.suits(modality)]
    if len(able) < len(modalities()):
        return ", ".join(modality.name for modality in able)
    return "all, joint states" if fault.damages_joint_states else "all"
