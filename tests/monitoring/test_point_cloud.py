"""Pixels become points that project back onto them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from multismolvla.nodes.depth_cloud import points

K = (80.0, 0.0, 15.5, 0.0, 82.0, 11.5, 0.0, 0.0, 1.0)
no_return = st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -1.0])
depths = arrays(
    np.float32,
    st.tuples(st.integers(1, 24), st.integers(1, 32)),
    elements=st.floats(0.0625, 2.0, width=32) | no_return,
)


@given(depths, st.integers(1, 5))
def test_points_project_back_onto_the_pixels_with_a_return(depth, stride):
    cloud = points(depth, K, stride)
    assert cloud.dtype == np.float32
    rows, columns = np.nonzero(np.isfinite(depth) & (depth > 0))
    kept = (rows % stride == 0) & (columns % stride == 0)
    assert len(cloud) == kept.sum()
    x, y, z = cloud.T.astype(float)
    np.testing.assert_allclose(K[0] * x / z + K[2], columns[kept], atol=1e-3)
    np.testing.assert_allclose(K[4] * y / z + K[5], rows[kept], atol=1e-3)
    np.testing.assert_array_equal(cloud[:, 2], depth[rows[kept], columns[kept]])


@pytest.mark.parametrize("k", [(0.0,) * 9, (np.nan,) * 9, (-1.0, *K[1:])])
def test_a_camera_that_is_not_calibrated_is_refused(k):
    with pytest.raises(ValueError, match="is it calibrated"):
        points(np.ones((4, 4), np.float32), k)


def test_a_colour_image_is_no_depth():
    with pytest.raises(ValueError, match=r"expected \(H, W\)"):
        points(np.ones((4, 4, 3), np.float32), K)
