"""The panel says the worst thing first, and in a line that can be read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multismolvla.monitoring.health_panel import (
    LONGEST,
    MASKED,
    Light,
    StreamState,
    as_used,
    stream_line,
    verdict,
)

GOOD = StreamState("OK", (), 15.0)
POOR = StreamState("DEGRADED", ("slow",), 9.0)
LOST = StreamState("LOST", ("stale",), 0.0)
RUNNING = {"mode": "running", "reason": "", "task": "put the red cube in the bin"}
FOLLOWING = {"level": "0", "state": "TRACKING", "torque": "1", "message": "following commands"}
STREAMS = {"rgb": GOOD, "depth": GOOD}


@pytest.mark.parametrize(
    ("policy", "driver", "streams", "text", "light"),
    [
        ({}, {}, {}, "RUNNING: put the red cube in the bin", Light.GOOD),
        ({}, {}, {"rgb": LOST}, "DEGRADED: 1 of 2 streams lost: rgb", Light.WARNING),
        ({}, {}, {"rgb": POOR}, "DEGRADED: rgb", Light.WARNING),
        ({"reason": "policy error: x"}, {}, {}, "DEGRADED: policy error: x", Light.WARNING),
        (
            {},
            {"level": "1", "message": "hot: gripper"},
            {},
            "DEGRADED: hot: gripper",
            Light.WARNING,
        ),
        # A machine that is too slow is said before what it does to the streams; a loss goes first.
        (
            {"overload": "overloaded: policy_node runs 180 ms late"},
            {},
            {"rgb": POOR},
            "OVERLOADED: policy_node runs 180 ms late",
            Light.WARNING,
        ),
        (
            {"overload": "overloaded: policy_node runs 180 ms late"},
            {},
            {"rgb": LOST},
            "DEGRADED: 1 of 2 streams lost: rgb",
            Light.WARNING,
        ),
        ({"mode": "hold", "reason": "blind"}, {}, {}, "HOLD: blind", Light.BAD),
        ({"mode": "hold", "reason": "blind"}, {}, {"rgb": LOST}, "HOLD: blind", Light.BAD),
        (
            {},
            {"level": "1", "state": "HOLD", "message": "holding: old"},
            {},
            "HOLD: holding: old",
            Light.BAD,
        ),
        # Without a task a driver that holds is as it should be.
        ({"mode": "idle"}, {"level": "1", "state": "HOLD"}, {}, "IDLE: no task", Light.IDLE),
        ({"mode": "idle"}, {"state": "STOPPED", "message": "by hand"}, {}, "STOPPED", Light.BAD),
        ({}, {"level": "1", "torque": "0", "message": "torque is off"}, {}, "STOPPED", Light.BAD),
        ({}, {"level": "2", "message": "port lost"}, {}, "ARM FAULT: port lost", Light.BAD),
        (None, {}, {}, "NO POLICY", Light.BAD),
        ({}, None, {}, "NO ARM", Light.BAD),
        (None, None, {}, "NO ARM", Light.BAD),
    ],
)
def test_the_verdict_is_the_worst_that_is_known(policy, driver, streams, text, light):
    line = verdict(
        None if policy is None else RUNNING | policy,
        None if driver is None else FOLLOWING | driver,
        STREAMS | streams,
    )
    assert line.light is light
    assert line.text.startswith(text)


@pytest.mark.parametrize(
    ("state", "text", "light"),
    [
        (GOOD, "wrist/rgb 15 Hz", Light.GOOD),
        (POOR, "wrist/rgb DEGRADED slow", Light.WARNING),
        (LOST, "wrist/rgb LOST stale", Light.BAD),
        (StreamState("odd", (), 0.0), "wrist/rgb odd", Light.BAD),
    ],
)
def test_a_stream_has_its_state_and_reasons(state, text, light):
    assert stream_line("wrist/rgb", state) == ("wrist/rgb", text, light)


texts = st.dictionaries(
    st.sampled_from(["mode", "reason", "task", "level", "state", "torque", "message"]), st.text()
)


@given(
    st.none() | texts,
    st.none() | texts,
    st.dictionaries(
        st.text(),
        st.builds(StreamState, st.text(), st.tuples(st.text()), st.floats()),
        max_size=3,
    ),
)
def test_whatever_the_statuses_say_each_is_one_short_line(policy, driver, streams):
    lines = [verdict(policy, driver, streams)]
    lines += [stream_line(name, state) for name, state in streams.items()]
    for line in lines:
        assert "\n" not in line.text
        assert len(line.text) <= LONGEST


def test_a_stream_that_only_the_policy_masks_is_shown_as_masked():
    policy = RUNNING | {"mask.rgb": "0", "mask_reason.rgb": "image contradicts the pose"}
    policy |= {"mask.depth": "0", "mask_reason.depth": "stale", "mask.thermal": "1"}
    streams = as_used({"rgb": GOOD, "depth": LOST, "thermal": POOR}, policy)
    assert streams["rgb"] == StreamState(MASKED, ("image contradicts the pose",), 15.0)
    assert streams["depth"] == LOST and streams["thermal"] == POOR
    assert stream_line("rgb", streams["rgb"]) == (
        "rgb",
        "rgb MASKED image contradicts the pose",
        Light.BAD,
    )
    assert verdict(policy, FOLLOWING, {"rgb": streams["rgb"], "depth": GOOD}).text == (
        "DEGRADED: 1 of 2 streams lost: rgb"
    )
    assert as_used({"rgb": GOOD}, None) == {"rgb": GOOD}
