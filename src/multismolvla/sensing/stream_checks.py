"""The two checks that every diagnostics tool expects of a topic: its frequency and its stamps."""

from __future__ import annotations

from typing import NamedTuple

from multismolvla.sensing.health import HealthReport, State


class Check(NamedTuple):
    """Result of a check: how bad, in words, and the numbers behind it by name."""

    state: State
    message: str
    values: dict[str, str]


def frequency_check(rate_hz: float, nominal_hz: float, least_share: float) -> Check:
    """Compare a measured rate with the nominal one; less than `least_share` of it is a warning."""
    least_hz = least_share * nominal_hz
    if not rate_hz > 0:
        state, message = State.LOST, "nothing comes"
    elif rate_hz < least_hz:
        state, message = State.DEGRADED, f"{rate_hz:.1f} Hz, expected {nominal_hz:g}"
    else:
        state, message = State.OK, f"{rate_hz:.1f} Hz"
    values = {
        "actual_hz": f"{rate_hz:.2f}",
        "target_hz": f"{nominal_hz:g}",
        "least_hz": f"{least_hz:g}",
    }
    return Check(state, message, values)


def stamp_check(report: HealthReport) -> Check:
    """Judge the stamps of the last second's frames."""
    if report.delays_s is None:
        return Check(State.DEGRADED, "no frame in the last second", {"bad": "0"})
    values = {
        "least_delay_s": f"{report.delays_s[0]:.4f}",
        "greatest_delay_s": f"{report.delays_s[1]:.4f}",
        "bad": str(report.bad_stamps),
    }
    if "bad_stamp" in report.reasons and report.state is State.LOST:
        return Check(State.LOST, report.detail, values)
    if report.bad_stamps:
        message = f"{report.bad_stamps} bad stamps in the last second"
        return Check(State.DEGRADED, message, values)
    return Check(State.OK, "stamps are reasonable", values)
