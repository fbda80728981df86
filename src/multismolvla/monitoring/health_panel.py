"""The health panel: one overall state, and one line for every stream."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple


class Light(Enum):
    """Colours as on a machine's light tower, (red, green, blue)."""

    GOOD = (0.15, 0.80, 0.25)
    WARNING = (1.00, 0.70, 0.00)
    BAD = (0.95, 0.15, 0.10)
    IDLE = (0.45, 0.60, 0.80)


class Line(NamedTuple):
    """One line of the panel; `name` is its stream, empty for the verdict."""

    name: str
    text: str
    light: Light


class StreamState(NamedTuple):
    """A stream: `OK`, `DEGRADED`, `LOST` or `MASKED`, the reasons, and the measured rate."""

    state: str
    reasons: tuple[str, ...]
    rate_hz: float


# What its camera's node has no fault to find with, and the policy does not use.
MASKED = "MASKED"
_LIGHTS = {"OK": Light.GOOD, "DEGRADED": Light.WARNING, "LOST": Light.BAD}
# A reason may be a whole traceback; the panel is to be read from afar.
LONGEST = 60


def as_used(
    streams: Mapping[str, StreamState], policy: Mapping[str, str] | None
) -> dict[str, StreamState]:
    """The streams by their nodes' statuses, `MASKED` if only the policy masks one.

    Args:
        policy: values of its newest status, None while there is none.
    """
    used = dict(streams)
    for name, stream in streams.items():
        if policy is not None and policy.get(f"mask.{name}") == "0" and stream.state != "LOST":
            reason = policy.get(f"mask_reason.{name}")
            used[name] = StreamState(
                MASKED, (reason,) if reason else stream.reasons, stream.rate_hz
            )
    return used


def stream_line(name: str, stream: StreamState) -> Line:
    """The state of a stream in a few words."""
    light = _LIGHTS.get(stream.state, Light.BAD)
    if light is Light.GOOD:
        return Line(name, _short(f"{name} {stream.rate_hz:.0f} Hz"), light)
    return Line(name, _short(f"{name} {stream.state} {', '.join(stream.reasons)}"), light)


def verdict(
    policy: Mapping[str, str] | None,
    driver: Mapping[str, str] | None,
    streams: Mapping[str, StreamState],
) -> Line:
    """Return the one thing to know first.

    Args:
        policy, driver: values of the newest status of each, by key; the driver's also with `level`
            (a digit) and `message`. None while there is none: the node is not heard of.
        streams: the streams that should be there, see `as_used`.
    """
    text, light = _verdict(policy, driver, streams)
    return Line("", _short(text), light)


def _verdict(
    policy: Mapping[str, str] | None,
    driver: Mapping[str, str] | None,
    streams: Mapping[str, StreamState],
) -> tuple[str, Light]:
    if driver is None:
        return "NO ARM: no status of the driver", Light.BAD
    if driver.get("level") not in ("0", "1"):
        return f"ARM FAULT: {driver.get('message', '')}", Light.BAD
    if policy is None:
        return "NO POLICY: no status", Light.BAD
    mode = policy.get("mode", "")
    if mode == "hold":
        return f"HOLD: {policy.get('reason', '')}", Light.BAD
    # Without a task the driver holds as it should: commands have ended.
    if driver.get("state") == "STOPPED" or driver.get("torque") == "0":
        return f"STOPPED: {driver.get('message', '')}", Light.BAD
    if mode == "idle":
        return "IDLE: no task", Light.IDLE
    if driver.get("state") == "HOLD":
        return f"HOLD: {driver.get('message', '')}", Light.BAD
    lost = [name for name, stream in streams.items() if stream.state in ("LOST", MASKED)]
    poor = [name for name, stream in streams.items() if stream.state != "OK"]
    trouble = policy.get("reason", "")
    if lost:
        trouble = f"{len(lost)} of {len(streams)} streams lost: {', '.join(lost)}"
    elif driver.get("level") == "1":
        trouble = driver.get("message", "")
    elif policy.get("overload"):
        return policy["overload"].replace("overloaded", "OVERLOADED", 1), Light.WARNING
    elif poor and not trouble:
        trouble = ", ".join(poor)
    if trouble:
        return f"DEGRADED: {trouble}", Light.WARNING
    return f"RUNNING: {policy.get('task', '')}", Light.GOOD


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 3]}..."
