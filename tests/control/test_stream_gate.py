"""StreamGate: go with enough streams, hold with fewer, and a reason that counts them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multismolvla.control.policy_view import StreamGate
from multismolvla.modalities.registry import kinds
from multismolvla.streams import Stream, StreamTable

TABLE = StreamTable(
    tuple(
        Stream(f"{view}{kind}", kind, 96, 96, 15.0, "camera_optical_frame")
        for view in ("", "wrist/")
        for kind in kinds()
    )
)


def test_holds_below_the_minimum_and_says_what_is_left():
    gate = StreamGate(TABLE, min_visual_streams=2)
    decision = gate.decide({"rgb": True, "depth": False})
    assert not decision.go
    assert decision.reason == "holding: 1 of 8 streams left (rgb), at least 2 needed"


@settings(max_examples=50)
@given(st.sets(st.sampled_from(TABLE.names)), st.integers(0, len(TABLE)))
def test_goes_exactly_when_enough_streams_are_left(available, minimum):
    decision = StreamGate(TABLE, minimum).decide({name: name in available for name in TABLE.names})
    assert decision.go == (len(available) >= minimum)
    assert bool(decision.reason) != decision.go


@pytest.mark.parametrize(("minimum", "message"), [(9, "expected 0 to 8"), (-1, "is -1")])
def test_refuses_a_rule_that_cannot_be_met(minimum, message):
    with pytest.raises(ValueError, match=message):
        StreamGate(TABLE, minimum)
