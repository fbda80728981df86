"""Counts of a turn that begin again, and those that go on with a sign."""

import numpy as np
import pytest

from multismolvla.robot.registers import PRESENT_POSITION
from multismolvla.robot.turn_counter import TurnCounter


@pytest.mark.parametrize(
    ("read", "followed", "turns"),
    [
        ([4090, 5, 20], [4090, 4101, 4116], 1),
        ([5, 4090, 4070], [5, -6, -26], -1),
        ([4090, 5, 4090], [4090, 4101, 4090], 0),
        ([4090, 5, 2000, 4000, 3], [4090, 4101, 6096, 8096, 8195], 2),
        ([3, -2, -100], [3, -2, -100], 0),
        ([1000, 2900], [1000, 2900], 0),
    ],
)
def test_a_count_is_followed_without_a_jump(read, followed, turns):
    counter = TurnCounter(1)
    assert [int(counter.follow(np.array([ticks]))[0]) for ticks in read] == followed
    assert counter.turns.tolist() == [turns]


def test_the_first_reading_counts_as_it_is():
    assert TurnCounter(2).follow(np.array([4090, -100])).tolist() == [4090, -100]


def test_bit_15_of_a_position_is_its_sign():
    assert PRESENT_POSITION.decode((0x8064).to_bytes(2, "little")) == -100
    assert PRESENT_POSITION.encode(-100) == (0x8064).to_bytes(2, "little")
