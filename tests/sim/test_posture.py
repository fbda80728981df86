"""Postures that reach for a point with the hand as steep as the arm allows."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from multismolvla.embodiment.so101 import SO101
from multismolvla.sim.posture import reach


@settings(max_examples=60, deadline=None)
@given(arrays(np.float64, 3, elements=st.floats(-0.6, 0.6)), st.floats(-3, 3))
def test_reach_answers_every_point_within_the_limits(position, roll):
    joints = reach(position, roll)
    assert (joints >= SO101.lower_rad[:5]).all()
    assert (joints <= SO101.upper_rad[:5]).all()
