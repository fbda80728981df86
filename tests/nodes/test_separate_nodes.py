"""With each sensor node in its own process, the loss of one of them is the loss of one stream."""

import os
import signal

import pytest
from patience import HANG_S
from stack_under_test import assert_within_limits, pid_of, running_stack, start_moving


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    with running_stack(tmp_path_factory.mktemp("stack"), composition="nodes") as runner:
        yield runner


@pytest.mark.parametrize(
    ("executable", "namespace", "stream"),
    [
        ("rgb_node", "", "rgb"),
        ("depth_node", "wrist", "wrist/depth"),
        ("thermal_node", "", "thermal"),
        ("segmentation_node", "", "segmentation"),
    ],
)
def test_a_killed_sensor_node_is_masked_and_comes_back(stack, executable, namespace, stream):
    start_moving(stack)
    os.kill(pid_of(executable, namespace), signal.SIGKILL)
    stack.wait_until(
        lambda: stack.policy[f"mask.{stream}"] == "0", f"{stream} to be masked", HANG_S
    )
    assert stack.policy[f"mask_reason.{stream}"]
    # Going on without it; a pause is no failure on a machine that other programs keep busy.
    stack.wait_until(lambda: stack.policy["mode"] == "running", "work without it", HANG_S)
    assert_within_limits(stack)
    stack.wait_until(lambda: stack.policy[f"mask.{stream}"] == "1", f"{stream} to return", HANG_S)
