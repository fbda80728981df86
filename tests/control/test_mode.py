"""One mode and the reason to read first."""

import pytest

from multismolvla.control.policy_loop import Mode, describe

HOLDING = {
    "task": "pick",
    "holding": True,
    "hold_reason": "",
    "policy_problem": "",
    "had_chunk": True,
    "latency_s": 1.0,
}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"holding": False}, ("running", "")),
        ({"holding": False, "policy_problem": "policy error: x"}, ("running", "policy error: x")),
        ({"task": "", "hold_reason": "no task"}, ("idle", "no task")),
        ({"hold_reason": "no joint_states", "policy_problem": "x"}, ("hold", "no joint_states")),
        ({"policy_problem": "policy error: x"}, ("hold", "policy error: x")),
        ({"had_chunk": False}, ("hold", "waiting for the first chunk")),
        ({}, ("hold", "the queue ran dry, an inference takes 1.00 s")),
    ],
)
def test_mode_and_reason(changes, expected):
    assert describe(**{**HOLDING, **changes}) == Mode(*expected)
