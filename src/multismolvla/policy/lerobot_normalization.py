"""From the statistics of a LeRobot policy to radians: the mode, the data set, the unit.

Each of the three is known, asked for, or refused: a wrong guess sends the arm elsewhere, and no
number would look wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from multismolvla.doctor import Finding, error, warning
from multismolvla.embodiment import lerobot_units
from multismolvla.embodiment.description import Embodiment
from multismolvla.policy.lerobot_config import STATE
from multismolvla.policy.normalization import EPSILON

# Mode -> the statistics that it needs, low and high but for the first.
NEEDS = {
    "MEAN_STD": ("mean", "std"),
    "MIN_MAX": ("min", "max"),
    "QUANTILES": ("q01", "q99"),
    "QUANTILE10": ("q10", "q90"),
    "IDENTITY": (),
}
# In the data's unit: a number that varies less never moved.
_STILL = 1e-6
# Divides what was measured away, beside what the model knows a number that never moved as.
_FAR = 1e12
# LeRobot before 0.4 kept statistics in the weights: `normalize_inputs.buffer_action.mean`, or with
# the data set's name before `buffer`.
_IN_WEIGHTS = ("normalize_inputs.", "unnormalize_outputs.", "normalize_targets.")

Statistics = dict[str, Tensor]


@dataclass(frozen=True)
class Named:
    """Statistics of one feature as a file has them.

    Attributes:
        by_source: name of the data set, "" without one -> kind (`mean`, ...) -> numbers.
    """

    by_source: Mapping[str, Statistics]


@dataclass(frozen=True)
class StatisticsChoice:
    """What nobody but the person at the robot may know; empty where the files say it.

    Attributes:
        units: one of `lerobot_units.UNITS`.
        source: the data set whose statistics are used, where the checkpoint has several.
        travel_rad: (J,) calibrated travel of each joint, for units of -100 to 100.
    """

    units: str = ""
    source: str = ""
    travel_rad: np.ndarray | None = None


def of_feature(tensors: Mapping[str, Tensor], feature: str) -> Named:
    """The statistics of a feature among tensors such as `so100.buffer.action.mean`."""
    by_source: dict[str, Statistics] = {}
    for name, tensor in tensors.items():
        key, _, kind = name.rpartition(".")
        if key == feature or key.endswith(f".{feature}"):
            source = key.removesuffix(feature).rstrip(".").removesuffix("buffer").rstrip(".")
            by_source.setdefault(source, {})[kind] = tensor
    return Named(by_source)


def in_weights(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Statistics that older LeRobots saved with the weights, under the names of today."""
    found = {}
    for name, tensor in tensors.items():
        for start in _IN_WEIGHTS:
            source, buffer, rest = name.removeprefix(start).partition("buffer_")
            if name.startswith(start) and buffer:
                rest = rest.replace("observation_state", STATE)
                source = source.rstrip("_.")
                found[f"{source}.buffer.{rest}" if source else rest] = tensor
    return found


def choose(
    named: Named, feature: str, mode: str, source: str, file: Path, found: list[Finding]
) -> Statistics | None:
    """The statistics to use; None, and a finding, where that cannot be known."""
    if mode == "IDENTITY":
        return named.by_source.get("", {})
    sources = named.by_source
    if not sources:
        found.append(
            error(
                file,
                feature,
                f"has no statistics, and its mode is {mode}",
                "copy the whole folder that LeRobot saved, or fine-tune on data of this arm; "
                "where the model was trained on raw numbers, normalization_mapping says IDENTITY",
            )
        )
        return None
    listed = ", ".join(sorted(f"'{name}'" for name in sources if name))
    if source and source in sources:
        chosen = source
    elif "" in sources:
        chosen = ""
    elif source:
        what = f"has statistics of {listed}; none of '{source}'"
        found.append(error(file, feature, what, "name one of them"))
        return None
    elif len(sources) == 1:
        (chosen,) = sources
    else:
        found.append(
            error(
                file,
                feature,
                f"has statistics of several data sets, {listed}, and none without a name",
                "name the one that the arm's data are like with policy_statistics, or fine-tune "
                "on data of this arm",
            )
        )
        return None
    return sources[chosen]


def shift_and_scale(
    statistics: Statistics,
    feature: str,
    mode: str,
    size: int,
    epsilon: float,
    file: Path,
    found: list[Finding],
) -> tuple[Tensor, Tensor] | None:
    """(N,) each in float64 and the data's unit: what the model calls x is `x * scale + shift`.

    None, and a finding, where they cannot be used.
    """
    if mode == "IDENTITY":
        return torch.zeros(size).double(), torch.ones(size).double()
    first, second = (_numbers(statistics, k, feature, mode, size, file, found) for k in NEEDS[mode])
    if first is None or second is None:
        return None
    key = f"{feature}.{NEEDS[mode][1]}"
    if mode == "MEAN_STD":
        if (second < 0).any():
            found.append(error(file, key, f"is {second.tolist()}; expected no negative number"))
            return None
        still, known, spread = second < _STILL, 0.0, second + epsilon
        shift, scale = first, second
    else:
        if (second < first).any():
            low = f"{feature}.{NEEDS[mode][0]}"
            found.append(error(file, key, f"is {second.tolist()}; expected at least {low}"))
            return None
        shift, scale = (first + second) / 2, (second - first) / 2
        still, known, spread = scale < _STILL, -1.0, scale
    for place in torch.nonzero(still).flatten().tolist():
        what = f"never moved in the training data: it is {first[place]:.6g} throughout"
        fix = "hold that joint there, or record data in which it moves"
        found.append(warning(file, f"{feature}[{place}]", what, fix))
    if feature == STATE:
        # LeRobot divides by a hundred-millionth there, so that a tenth of a degree becomes ten
        # millions. The model has seen one number only, and gets it whatever is measured.
        shift = torch.where(still, -known * _FAR, shift)
        scale = torch.where(still, _FAR, spread)
    else:
        # Whatever the model says, it stays where it was.
        shift, scale = torch.where(still, first, shift), torch.where(still, 0.0, scale)
    return shift, scale


def reach(statistics: Statistics) -> tuple[np.ndarray, np.ndarray] | None:
    """(N,) bounds that the data touch or exceed, from whatever statistics there are.

    Without extremes: no number is smaller in size than the root of the mean square at its largest.
    """
    rows = {kind for kind, tensor in statistics.items() if _is_row(tensor)}
    for low, high in (("min", "max"), ("q01", "q99"), ("q10", "q90")):
        if low in rows and high in rows:
            return _flat(statistics[low]).numpy(), _flat(statistics[high]).numpy()
    if "mean" in rows and "std" in rows:
        mean, std = _flat(statistics["mean"]), _flat(statistics["std"])
        if mean.shape == std.shape:
            size = (mean.square() + std.square()).sqrt().numpy()
            return -size, size
    return None


def find_units(
    every: Mapping[str, Statistics],
    embodiment: Embodiment,
    units: str,
    file: Path,
    found: list[Finding],
) -> str:
    """The unit of states and actions; "" and a finding where it has to be asked for.

    Args:
        every: feature -> its statistics.
        units: what the person says, or "".
    """
    bounds = [bound for bound in map(reach, every.values()) if bound is not None]
    bounds = [bound for bound in bounds if bound[0].shape == (len(embodiment),)]
    if not bounds:
        if units:
            return units
        what = "says in no statistics what unit its joints have"
        found.append(error(file, "", what, _ask()))
        return ""
    lowest = np.min([low for low, _ in bounds], axis=0)
    highest = np.max([high for _, high in bounds], axis=0)
    known, why = lerobot_units.recognise(lowest, highest, embodiment)
    if not units:
        if not known:
            found.append(error(file, STATE, f"has an unknown unit: {why}", _ask()))
        return known
    contradiction = lerobot_units.contradiction(lowest, highest, embodiment, units)
    if contradiction:
        found.append(error(file, STATE, f"is not in {units}: {contradiction}", _ask()))
        return ""
    return units


def to_radians(
    shift: Tensor, scale: Tensor, units: str, choice: StatisticsChoice, embodiment: Embodiment
) -> tuple[Tensor, Tensor]:
    """The same in radians; what never moved stays out of reach."""
    if units == lerobot_units.RADIANS:
        return shift, scale
    if units == lerobot_units.NORMALIZED:
        assert choice.travel_rad is not None
        pair = lerobot_units.normalized_to_radians(embodiment, choice.travel_rad)
    else:
        pair = lerobot_units.to_radians(embodiment)
    factor, offset = (torch.from_numpy(numbers).double() for numbers in pair)
    far = scale == _FAR
    return (
        torch.where(far, shift, shift * factor + offset),
        torch.where(far, scale, scale * factor),
    )


def as_deviation(scale: Tensor) -> Tensor:
    """Of a state: the normaliser adds its own constant to it."""
    return (scale - EPSILON).clamp_min(0.0)


def _ask() -> str:
    return (
        "say it with policy_units: degrees (LeRobot 0.4.4 and later, or use_degrees), radians, or "
        "normalized (-100 to 100; with policy_calibration, the calibration of the arm that the "
        "data are from)"
    )


def _flat(tensor: Tensor) -> Tensor:
    """A row of numbers with any axes of one as (N,)."""
    return tensor.double().flatten()


def _is_row(tensor: Tensor) -> bool:
    return tensor.numel() == max(tensor.shape, default=1)


def _numbers(
    statistics: Statistics,
    kind: str,
    feature: str,
    mode: str,
    size: int,
    file: Path,
    found: list[Finding],
) -> Tensor | None:
    key = f"{feature}.{kind}"
    if kind not in statistics:
        what = f"is missing; {mode} needs it, and there are {', '.join(sorted(statistics))}"
        fix = "train with the mode whose statistics the data set has, or let LeRobot compute them"
        found.append(error(file, key, what, fix))
        return None
    tensor = statistics[kind]
    if not _is_row(tensor) or tensor.numel() != size:
        shape = list(tensor.shape)
        found.append(error(file, key, f"has shape {shape}; expected {size} numbers"))
        return None
    numbers = _flat(tensor)
    if not torch.isfinite(numbers).all():
        # Older LeRobots mark with infinity what no data set has filled in.
        found.append(
            error(
                file,
                key,
                f"is {numbers.tolist()}; expected finite numbers",
                "fine-tune on data of this arm, whose statistics LeRobot then saves",
            )
        )
        return None
    return numbers
