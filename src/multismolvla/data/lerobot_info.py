"""`meta/info.json` of a LeRobot data set, checked: every key that reading needs."""

from __future__ import annotations

import math
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from multismolvla.checked_file import json_value
from multismolvla.data.lerobot_layout import INFO
from multismolvla.data.lerobot_version import check_version
from multismolvla.doctor import ERROR, Finding, error, warning
from multismolvla.one_line import one_line

_CAMERAS = ("image", "video")
_DATA_FIELDS = {"chunk_index", "file_index"}
# LeRobot's frames are within these; a rate beyond is a mistake, such as a period in its place.
_MOST_FPS = 1000.0
_DEPTH_KEYS = ("depth_min", "depth_max", "shift", "use_log")


@dataclass(frozen=True)
class DepthCoding:
    """How a 12-bit video holds depth: code 0 is `least_m`, 4095 is `most_m`.

    Attributes:
        least_m, most_m: metres.
        shift_m: added before the logarithm.
        logarithmic: whether codes are even in log(depth + shift), else in depth.
    """

    least_m: float
    most_m: float
    shift_m: float
    logarithmic: bool


@dataclass(frozen=True)
class Feature:
    """A column or a camera.

    Attributes:
        dtype: `float32`, ...; `image` or `video` for cameras.
        shape: of one row's value; empty where the file does not say.
        names: of the numbers of a value; empty where the file does not say.
        depth: whether it is a depth map.
        depth_unit: of a depth map kept as images: `m`, `mm`, or "" where the file does not say.
        coding: of a depth map kept as video.
    """

    dtype: str
    shape: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    depth: bool = False
    depth_unit: str = ""
    coding: DepthCoding | None = None

    @property
    def is_camera(self) -> bool:
        return self.dtype in _CAMERAS


@dataclass(frozen=True)
class SetInfo:
    """What info.json says.

    Attributes:
        fps: rows a second.
        data_path, video_path: of files, with fields for chunk and file (and camera).
        totals: `total_episodes`, `total_frames`, `total_tasks`, where the file has them.
    """

    fps: float
    features: Mapping[str, Feature]
    data_path: str
    video_path: str = ""
    robot_type: str = ""
    totals: Mapping[str, int] = field(default_factory=dict)

    @property
    def cameras(self) -> tuple[str, ...]:
        return tuple(key for key, feature in self.features.items() if feature.is_camera)


def read_info(folder: Path) -> tuple[SetInfo | None, list[Finding]]:
    """The file's content, or None where it cannot be used; and what is wrong or odd in it."""
    try:
        content = json_value((folder / INFO).read_text())
    except OSError as unreadable:
        bags = next(folder.glob("**/metadata.yaml"), None) is not None
        fix = "give the folder that holds meta/, data/ and videos/"
        fix = "these are bags: check each with 'multismolvla bag check BAG'" if bags else fix
        return None, [error(INFO, "", f"cannot be read: {unreadable.strerror}", fix)]
    except ValueError as wrong:
        return None, [error(INFO, "", one_line(wrong), "fetch the file again")]
    if not isinstance(content, dict):
        return None, [error(INFO, "", f"is {_short(content)}; expected keys and values")]
    version = check_version(content.get("codebase_version"), INFO, folder)
    if version is not None:
        # What another version calls its keys would only be noise.
        return None, [version]
    found: list[Finding] = []
    fps = _fps(content.get("fps"), found)
    features = _features(content.get("features"), found)
    data_path = _path(content, "data_path", _DATA_FIELDS, found)
    videos = any(feature.dtype == "video" for feature in features.values())
    video_path = _path(content, "video_path", {*_DATA_FIELDS, "video_key"}, found) if videos else ""
    totals = {}
    for key in ("total_episodes", "total_frames", "total_tasks"):
        value = content.get(key)
        if _whole(value) and value >= 0:
            totals[key] = value
        elif value is not None:
            found.append(warning(INFO, key, f"is {_short(value)}; expected a whole number"))
    robot_type = content.get("robot_type")
    robot_type = robot_type if isinstance(robot_type, str) else ""
    # With wrong names alone, the rest of the data set can be judged.
    if any(finding.severity == ERROR and not finding.key.endswith(".names") for finding in found):
        return None, found
    return SetInfo(fps, features, data_path, video_path, robot_type, totals), found


def _fps(value: Any, found: list[Finding]) -> float:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if number and 0 < value <= _MOST_FPS:
        return float(value)
    what = "is missing" if value is None else f"is {_short(value)}"
    expected = "expected rows a second, above 0"
    found.append(error(INFO, "fps", f"{what}; {expected}", "write the rate of the recording there"))
    return math.nan


def _features(value: Any, found: list[Finding]) -> dict[str, Feature]:
    if not isinstance(value, dict) or not value:
        what = "is missing" if value is None else f"is {_short(value)}"
        found.append(error(INFO, "features", f"{what}; expected columns and cameras by name"))
        return {}
    return {key: _feature(f"features.{key}", about, found) for key, about in value.items()}


def _feature(key: str, about: Any, found: list[Finding]) -> Feature:
    if not isinstance(about, dict):
        found.append(error(INFO, key, f"is {_short(about)}; expected keys and values"))
        return Feature("")
    dtype = about.get("dtype")
    if not isinstance(dtype, str) or not dtype:
        what = "is missing" if dtype is None else f"is {_short(dtype)}"
        expected = "expected a type such as float32, int64, image or video"
        found.append(error(INFO, f"{key}.dtype", f"{what}; {expected}"))
        return Feature("")
    shape = about.get("shape")
    if shape is not None and not (
        isinstance(shape, list) and all(_whole(size) and size > 0 for size in shape)
    ):
        expected = "expected a list of whole numbers above 0"
        found.append(error(INFO, f"{key}.shape", f"is {_short(shape)}; {expected}"))
        shape = None
    depth, depth_unit, coding = False, "", None
    if dtype in _CAMERAS:
        names: tuple[str, ...] = ()
        depth, depth_unit, coding = _depth(key, dtype, about, found)
    else:
        names = _names(key, about.get("names"), found)
        if names and shape and len(shape) == 1 and len(names) not in (1, shape[0]):
            what = f"has {len(names)} names; expected {shape[0]}, the shape"
            found.append(error(INFO, f"{key}.names", what))
    return Feature(dtype, tuple(shape or ()), names, depth, depth_unit, coding)


def _names(key: str, value: Any, found: list[Finding]) -> tuple[str, ...]:
    """A list; one under a word such as `motors`, in older sets; or a place by name."""
    if isinstance(value, dict):
        if value and all(_whole(place) for place in value.values()):
            value = sorted(value, key=value.__getitem__)
        else:
            lists = list(value.values())
            value = lists[0] if len(lists) == 1 else value
    if value is None or value == {}:
        return ()
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return tuple(value)
    expected = "expected a list of names"
    found.append(error(INFO, f"{key}.names", f"is {_short(value)}; {expected}"))
    return ()


def _depth(
    key: str, dtype: str, about: Mapping[str, Any], found: list[Finding]
) -> tuple[bool, str, DepthCoding | None]:
    """As LeRobot 0.6 keeps depth: under `info`, in older sets under `video_info`."""
    info: dict[str, Any] = {}
    for part in ("video_info", "info"):
        if isinstance(about.get(part), dict):
            info |= about[part]
    if not (info.get("is_depth_map") or info.get("video.is_depth_map")):
        return False, "", None
    unit = info.get("depth_unit")
    if unit not in (None, "m", "mm"):
        found.append(error(INFO, f"{key}.info.depth_unit", f"is {_short(unit)}; expected m or mm"))
    if dtype == "image":
        return True, unit or "", None
    values = [info.get(f"video.{name}") for name in _DEPTH_KEYS]
    for name, value in zip(_DEPTH_KEYS, values, strict=True):
        right = isinstance(value, bool) if name == "use_log" else _number(value)
        if not right:
            what = "is missing" if value is None else f"is {_short(value)}"
            expected = "true or false" if name == "use_log" else "metres"
            where = f"{key}.info.video.{name}"
            fix = "write there what the recording was made with (LeRobot 0.6's depth encoder)"
            found.append(error(INFO, where, f"{what}; expected {expected}", fix))
            return True, "", None
    least, most, shift, logarithmic = values
    if not 0 <= least < most or (logarithmic and least + shift <= 0):
        what = f"is {least} with depth_max {most} and shift {shift}; expected less than depth_max"
        found.append(error(INFO, f"{key}.info.video.depth_min", what))
    return True, "", DepthCoding(float(least), float(most), float(shift), logarithmic)


def _path(
    content: Mapping[str, Any], key: str, fields: Sequence[str] | set[str], found: list[Finding]
) -> str:
    value = content.get(key)
    example = " and ".join(f"{{{name}}}" for name in sorted(fields))
    if not isinstance(value, str):
        what = "is missing" if value is None else f"is {_short(value)}"
        found.append(error(INFO, key, f"{what}; expected a path with {example}"))
        return ""
    try:
        named = {name for _, name, _, _ in string.Formatter().parse(value) if name is not None}
        value.format(**dict.fromkeys(fields, 0))
    except (ValueError, KeyError, IndexError, AttributeError):
        named = set()
    # A set of one file may well name it without a number.
    if not named <= set(fields) or (named == set() and "{" in value):
        found.append(error(INFO, key, f"is '{value}'; expected a path with {example}"))
    elif Path(value).is_absolute() or ".." in Path(value).parts:
        found.append(error(INFO, key, f"is '{value}'; expected a path within the data set"))
    return value


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _short(value: Any) -> str:
    text = one_line(repr(value))
    return text if len(text) <= 40 else f"{text[:37]}..."
