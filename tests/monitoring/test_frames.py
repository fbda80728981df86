"""Frames of the arm: which move, which do not, and what is known without all the joints."""

from pathlib import Path

import numpy as np

from multismolvla.embodiment.so101 import SO101
from multismolvla.monitoring.frames import Frames, rotated
from multismolvla.monitoring.urdf import load_urdf

FRAMES = Frames(load_urdf(Path(__file__).parents[2] / "urdf" / "so101.urdf"))
HOME = dict.fromkeys(SO101.joint_names, 0.0)


def test_the_camera_above_the_table_is_still_and_that_of_the_wrist_moves():
    assert "top_camera_optical_frame" in FRAMES.still
    assert {"wrist_camera_optical_frame", "gripper_link", "grip"} <= FRAMES.moving
    assert FRAMES.poses({}).keys() == FRAMES.still


def test_every_joint_is_a_transform_once():
    fixed, turned = FRAMES.fixed(), FRAMES.turned(HOME)
    assert len(turned) == len(SO101.joint_names)
    children = [transform.child for transform in (*fixed, *turned)]
    assert sorted(children) == sorted(FRAMES.poses(HOME))


def test_what_hangs_on_a_joint_that_is_not_reported_has_no_pose():
    some = FRAMES.poses({name: 0.0 for name in SO101.joint_names if name != "elbow_flex"})
    assert "grip" not in some and "top_camera_optical_frame" in some
    assert {transform.parent for transform in some.values()} == {FRAMES.root}


def test_the_shoulder_turns_what_hangs_on_it():
    before, after = (FRAMES.poses({**HOME, "shoulder_pan": a})["grip"] for a in (0.0, 0.5))
    heights = before.position[2], after.position[2]
    assert np.isclose(*heights)
    assert np.linalg.norm(np.subtract(before.position, after.position)) > 0.05


def test_rotated_turns_a_vector():
    quarter_about_z = (np.sqrt(0.5), 0.0, 0.0, np.sqrt(0.5))
    np.testing.assert_allclose(
        rotated(quarter_about_z, (1.0, 0.0, 2.0)), (0.0, 1.0, 2.0), atol=1e-12
    )
