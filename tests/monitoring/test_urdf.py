"""The arm that the page shows is the arm of the kinematics, and a wrong file is one line."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multismolvla.embodiment.so101 import KINEMATICS, SO101
from multismolvla.monitoring.frames import Frames
from multismolvla.monitoring.urdf import UrdfError, load_urdf

FILE = Path(__file__).parents[2] / "urdf" / "so101.urdf"
ARM = load_urdf(FILE)


def matrix(wxyz) -> np.ndarray:
    w, x, y, z = wxyz
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


@settings(max_examples=40)
@given(st.lists(st.floats(0, 1), min_size=6, max_size=6))
def test_its_grip_frame_is_where_the_kinematics_have_it(shares):
    joints = SO101.lower_rad + np.array(shares) * (SO101.upper_rad - SO101.lower_rad)
    angles = dict(zip(SO101.joint_names, joints.tolist(), strict=True))
    grip = Frames(ARM).poses(angles)["grip"]
    position, rotation = KINEMATICS.forward(joints)
    np.testing.assert_allclose(grip.position, position, atol=1e-6)
    np.testing.assert_allclose(matrix(grip.wxyz), rotation, atol=1e-6)


def test_every_joint_of_the_arm_turns_and_every_link_has_its_place():
    assert {joint.name for joint in ARM.joints if joint.axis} == set(SO101.joint_names)
    assert {joint.child for joint in ARM.joints} | {ARM.root} == set(ARM.shapes)
    shapes = [shape for link in ARM.shapes.values() for shape in link]
    assert len(shapes) > 10
    assert all(min(shape.size) > 0 for shape in shapes)


LINKS = '<link name="a"/><link name="b"/>'


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("<robot>", "not valid XML"),
        ("<robot/>", "expected one link without a parent"),
        (f"<robot>{LINKS}</robot>", "expected one link without a parent"),
        (f'<robot>{LINKS}<joint name="j" type="floating"/></robot>', "'j' is floating"),
        (f'<robot>{LINKS}<joint name="j" type="fixed"/></robot>', "lacks its parent"),
        (
            '<robot><link name="a"/><joint name="j" type="fixed"><parent link="a"/>'
            '<child link="z"/></joint></robot>',
            "link 'z', which is not there",
        ),
        (
            f'<robot>{LINKS}<joint name="j" type="fixed"><origin xyz="1 2"/><parent link="a"/>'
            '<child link="b"/></joint></robot>',
            "expected three numbers",
        ),
        (
            '<robot><link name="a"><visual name="v"><geometry><mesh/></geometry></visual></link>'
            "</robot>",
            "visual 'v' is mesh; expected box, cylinder or sphere",
        ),
        (
            '<robot><link name="r"/><link name="a"/><link name="b"/>'
            '<joint name="j" type="fixed"><parent link="a"/><child link="b"/></joint>'
            '<joint name="k" type="fixed"><parent link="b"/><child link="a"/></joint></robot>',
            "go round in a circle",
        ),
    ],
)
def test_what_cannot_be_shown_is_one_line(tmp_path, content, said):
    path = tmp_path / "arm.urdf"
    path.write_text(content)
    with pytest.raises(UrdfError, match=said) as error:
        load_urdf(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_missing_file_is_one_line():
    with pytest.raises(UrdfError, match=r"nowhere\.urdf: cannot read it"):
        load_urdf("nowhere.urdf")
