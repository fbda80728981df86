"""What may be wrong with a file: bytes cut, flipped or repeated; keys and values that are odd."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml
from hypothesis import strategies as st

# Beside what the folder that is read holds; nobody may open it.
OUTSIDE = "outside.txt"
ODD = (
    None,
    True,
    False,
    0,
    1,
    -1,
    2**31,
    2**63,
    -(2**63) - 1,
    10**400,
    0.5,
    1e308,
    -0.0,
    float("nan"),
    float("inf"),
    float("-inf"),
    "",
    " ",
    "x",
    "0",
    "nan",
    "\0",
    "two\nlines",
    "\ud800",
    "ö" * 300,
    f"../{OUTSIDE}",
    f"../../{OUTSIDE}",
    "/dev/zero",
    [],
    {},
    [[]],
    [None],
    {"": None},
    ["x"],
    [0] * 1000,
)
_MARK = object()


def _deep(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def odd_values() -> st.SearchStrategy[Any]:
    """Anything that a key may hold."""
    plain = st.integers() | st.floats() | st.text(max_size=6)
    return st.sampled_from(ODD) | plain | st.builds(_deep, st.sampled_from([20, 300]))


def _places(value: Any, place: tuple = ()) -> list[tuple]:
    """The way to every value inside, that to the whole first."""
    found = [place]
    if isinstance(value, dict):
        children = list(value.items())
    elif isinstance(value, list):
        # The first and the last stand for all.
        children = [(i, value[i]) for i in sorted({0, len(value) - 1}) if value]
    else:
        children = []
    for key, child in children:
        found += _places(child, (*place, key))
    return found


def _with(value: Any, place: tuple, new: Any) -> Any:
    """A copy with another value at a place; without it, if that is _MARK."""
    if not place:
        return None if new is _MARK else new
    copied = dict(value) if isinstance(value, dict) else list(value)
    key, *rest = place
    if rest or new is not _MARK:
        copied[key] = _with(copied[key], tuple(rest), new)
    else:
        del copied[key]
    return copied


@st.composite
def odd_content(draw, content: Any) -> Any:
    """The content with one to three values replaced, removed, renamed or added."""
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(_places(content)))
        change = draw(st.sampled_from(["replace", "replace", "remove", "rename", "add"]))
        if change == "replace":
            content = _with(content, place, draw(odd_values()))
        elif change == "remove":
            content = _with(content, place, _MARK)
        else:
            inner = content
            for key in place:
                inner = inner[key]
            if isinstance(inner, dict):
                name = draw(st.text(max_size=4) | st.sampled_from(["a.b", "__class__", "0"]))
                renamed = dict(list(inner.items())[1:]) if change == "rename" else dict(inner)
                content = _with(content, place, {**renamed, name: draw(odd_values())})
    return content


@st.composite
def odd_bytes(draw, data: bytes) -> bytes:
    """The bytes with one to three places damaged."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        size = draw(st.sampled_from([1, 2, 4, 8, 64, 1000]))
        change = draw(st.sampled_from(["cut", "flip", "zero", "ones", "insert", "repeat", "drop"]))
        end = min(len(data), at + size)
        part = data[at:end]
        if change == "cut":
            data = data[:at]
            continue
        new = {
            "flip": bytes(byte ^ (1 << draw(st.integers(0, 7))) for byte in part[:1]) + part[1:],
            "zero": bytes(len(part)),
            "ones": b"\xff" * len(part),
            "insert": draw(st.binary(max_size=16)) + part,
            "repeat": part + part,
            "drop": b"",
        }[change]
        data = data[:at] + new + data[end:]
    return data


def _dump(name: str, content: Any) -> bytes:
    if name.endswith(".json"):
        text = json.dumps(content, default=str)
    else:
        text = yaml.safe_dump(content, allow_unicode=True)
    return text.encode(errors="surrogatepass")


@st.composite
def odd_files(draw, files: Mapping[str, bytes]) -> dict[str, bytes | None]:
    """Files of which one is damaged, empty or gone (None)."""
    name = draw(st.sampled_from(sorted(files)))
    data = files[name]
    how = draw(
        st.sampled_from(["content", "content", "content", "bytes", "bytes", "empty", "gone"])
    )
    structured = name.endswith((".json", ".yaml"))
    if how == "content" and structured:
        content = json.loads(data) if name.endswith(".json") else yaml.safe_load(data)
        damaged: bytes | None = _dump(name, draw(odd_content(content)))
    elif how in ("content", "bytes"):
        damaged = draw(odd_bytes(data))
    else:
        damaged = b"" if how == "empty" else None
    return {**files, name: damaged}
