"""The numbers of a LeRobot data set's state and action: which joint each is, and in what unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from multismolvla.data import lerobot_layout as layout
from multismolvla.data.lerobot_info import SetInfo
from multismolvla.data.lerobot_layout import ACTION, INFO, STATE
from multismolvla.data.lerobot_rows import Range
from multismolvla.doctor import Finding, error, warning
from multismolvla.embodiment import lerobot_units
from multismolvla.embodiment.description import Embodiment


def number_order(
    info: SetInfo, embodiment: Embodiment, key: str, given: Sequence[str] = ()
) -> tuple[list[int], Finding | None]:
    """Which of the set's numbers is each of ours, by name; and what is wrong.

    Args:
        given: names in place of the set's own.
    """
    where = f"features.{key}"
    expected = layout.number_names(embodiment, key)
    plain = list(range(len(expected)))
    feature = info.features.get(key)
    if feature is None:
        has = ", ".join(name for name, about in info.features.items() if not about.is_camera)
        return plain, error(INFO, where, f"is missing; expected a column of numbers, not {has}")
    joints = layout.is_joints(embodiment, key)
    names = tuple(given) if given and joints else feature.names
    found = tuple(name.removesuffix(".pos").removeprefix("main_") for name in names)
    # Some sets of an arm without joints name the column once, for all of its numbers.
    if not joints and len(found) <= 1 and feature.shape == (len(expected),):
        return plain, None
    by_name = f"say them in the order of the columns: --joints {' '.join(expected)}"
    if not found and joints:
        what = f"is missing: which joint is which is not known; expected {', '.join(expected)}"
        return plain, error(INFO, f"{where}.names", what, by_name)
    if joints and len(set(found)) == len(found) and set(found) == set(expected):
        return [found.index(name) for name in expected], None
    if found == expected:
        return plain, None
    what = f"{', '.join(found) or 'missing'}; expected {', '.join(expected)}"
    fix = "another arm needs its own --embodiment FILE (docs/embodiment.md)"
    if joints and len(found) == len(expected):
        fix = f"if these are names of the same joints, {by_name}; {fix}"
    return plain, error(INFO, f"{where}.names", f"is {what}", fix)


def find_units(
    embodiment: Embodiment,
    ranges: Mapping[str, Range],
    orders: Mapping[str, Sequence[int]],
    units: str = "",
    travel_rad: np.ndarray | None = None,
) -> tuple[str, list[Finding]]:
    """The unit of the joints: the one given, or the one that the numbers leave no doubt about.

    Args:
        ranges: of state and action, in the set's order.
        orders: of `number_order`.
        units: one of `UNITS`; "" where nobody said.
        travel_rad: of each joint, by its calibration.
    """
    keys = [key for key in (STATE, ACTION) if layout.is_joints(embodiment, key) and key in ranges]
    if not keys:
        return units or lerobot_units.RADIANS, []
    if units and units not in lerobot_units.UNITS:
        what = f"is '{units}'; expected {', '.join(lerobot_units.UNITS)}"
        return "", [error("--units", "", what)]
    if units == lerobot_units.NORMALIZED and travel_rad is None:
        what = "is normalized; -100 to 100 is of each arm's own travel"
        return "", [error("--units", "", what, "give the calibration: --calibration FILE")]
    reach = [
        Range(ranges[key].lowest[orders[key]], ranges[key].highest[orders[key]]) for key in keys
    ]
    whole = reach[0] if len(reach) == 1 else reach[0].join(reach[1])
    found, reason = lerobot_units.recognise(whole.lowest, whole.highest, embodiment)
    if not units and found:
        return found, []
    if not units:
        what = f"has no known unit: {reason}"
        fix = (
            "say --units degrees, --units radians, or, for LeRobot's -100 to 100, --units "
            "normalized with the --calibration FILE that it was recorded with"
        )
        return "", [error(" and ".join(keys), "", what, fix)]
    against = lerobot_units.contradiction(whole.lowest, whole.highest, embodiment, units)
    if not against:
        return units, []
    # One wild reading is no reason to refuse what somebody says of the whole set.
    return units, [warning(" and ".join(keys), "", f"should be in {units}, and {against}")]


def radians_of(
    embodiment: Embodiment, units: str, travel_rad: np.ndarray | None = None
) -> Callable[[np.ndarray], np.ndarray]:
    """Turns joints (..., J) of a unit into radians (float64)."""
    if units == lerobot_units.RADIANS:
        return lambda values: values.astype(np.float64)
    if units == lerobot_units.NORMALIZED:
        scale, offset = lerobot_units.normalized_to_radians(embodiment, travel_rad)
    else:
        scale, offset = lerobot_units.to_radians(embodiment)
    return lambda values: values * scale + offset
