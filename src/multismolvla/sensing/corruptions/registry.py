"""Every fault by name."""

from __future__ import annotations

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
from multismolvla.sensing.corruptions.fault import Fault
from multismolvla.sensing.corruptions.noise import GaussianNoise, SaltAndPepper
from multismolvla.sensing.corruptions.occlusion import Occlusion

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
