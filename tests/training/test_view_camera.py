import numpy as np
import pytest

from multismolvla.data.view_camera import camera_meta, view_cameras
from multismolvla.training.policy.auxiliary_targets import seen_at

# One metre above the middle of the table, looking straight down, x to the right.
ABOVE = [90.0, 0.0, 0.0, 0.2, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0]
SIDE = 8


def tokens(places, camera, grip=(0.0, 0.0, 0.0)):
    meta = camera_meta("top", camera)
    cameras = view_cameras(meta, ["top", "unknown"])[None]
    found = seen_at(np.array([places]), np.array([grip]), np.eye(3)[None], cameras, SIDE)
    assert (found[..., 1] == -1).all()  # a camera that nobody knows
    return [divmod(token, SIDE) if token >= 0 else None for token in found[0, :, 0].tolist()]


def test_a_place_is_seen_in_its_part_of_the_frame():
    # Half the width of the view is a metre at the table: a token is 25 cm.
    found = tokens([[0.3, 0.1, 0.0], [-0.7, -0.9, 0.0], [1.3, 0.0, 0.0], [0.2, 0.0, 2.0]], ABOVE)
    assert found == [(3, 4), (7, 0), None, None]


def test_mirrored_frames_are_seen_the_other_way_round():
    assert tokens([[0.3, 0.1, 0.0]], [90.0, 1.0, *ABOVE[2:]]) == [(3, 3)]


def test_a_camera_at_the_gripper_moves_with_it():
    camera = [90.0, 0.0, 1.0, 0.0, 0.0, 1.0, *ABOVE[6:]]
    assert tokens([[0.3, 0.1, 0.0]], camera, grip=(0.2, 0.0, 0.0)) == [(3, 4)]


def test_what_is_no_camera_is_not_kept():
    with pytest.raises(AssertionError):
        camera_meta("top", [1.0, 2.0])
