"""The URDF is the simulator's arm: the same frames, joints, limits, masses and shapes."""

from pathlib import Path
from xml.etree import ElementTree

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from make_urdf import urdf

from multismolvla.embodiment.so101 import KINEMATICS, SO101
from multismolvla.sim.simulation import SCENE_FILE
from multismolvla.streams import load_stream_table

FILE = Path(__file__).parents[2] / "urdf" / "so101.urdf"
MODEL = mujoco.MjModel.from_xml_path(str(SCENE_FILE))
DATA = mujoco.MjData(MODEL)
ROBOT = ElementTree.parse(FILE).getroot()
SAME = {"atol": 1e-6, "rtol": 0}


def numbers(element, attribute: str) -> np.ndarray:
    return np.array([float(word) for word in element.get(attribute).split()])


def about(axis: np.ndarray, angle: float) -> np.ndarray:
    """Rodrigues' formula."""
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def transform(rotation: np.ndarray, position: np.ndarray) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, position
    return matrix


def origin(element) -> np.ndarray:
    tag = element.find("origin")
    roll, pitch, yaw = numbers(tag, "rpy")
    x, y, z = np.eye(3)
    return transform(about(z, yaw) @ about(y, pitch) @ about(x, roll), numbers(tag, "xyz"))


def link_poses(joints: dict[str, float]) -> dict[str, np.ndarray]:
    """Link -> (4, 4) pose in base_link, as robot_state_publisher has it."""
    poses = {"base_link": np.eye(4)}
    for joint in ROBOT.iter("joint"):  # A parent comes before its children.
        pose = poses[joint.find("parent").get("link")] @ origin(joint)
        if joint.get("type") == "revolute":
            turn = about(numbers(joint.find("axis"), "xyz"), joints[joint.get("name")])
            pose = pose @ transform(turn, np.zeros(3))
        poses[joint.find("child").get("link")] = pose
    return poses


def test_the_file_is_what_the_model_gives():
    made = "run: ./run python scripts/make_urdf.py urdf/so101.urdf"
    assert FILE.read_text() == urdf(MODEL), made


@settings(max_examples=40)
@given(arrays(np.float64, 6, elements=st.floats(0, 1)))
def test_forward_kinematics_agree_with_the_simulator_and_with_ours(share):
    joints = SO101.lower_rad + share * (SO101.upper_rad - SO101.lower_rad)
    DATA.qpos[:6] = joints
    mujoco.mj_kinematics(MODEL, DATA)
    mujoco.mj_camlight(MODEL, DATA)
    poses = link_poses(dict(zip(SO101.joint_names, joints, strict=True)))

    position, rotation = KINEMATICS.forward(joints)
    np.testing.assert_allclose(poses["grip"], transform(rotation, position), **SAME)
    to_optical = np.diag([1.0, -1.0, -1.0])
    for name, pose in poses.items():
        if name == "grip":
            expected = transform(DATA.site(name).xmat.reshape(3, 3), DATA.site(name).xpos)
        elif name.endswith("_optical_frame"):
            camera = DATA.cam(name.removesuffix("_optical_frame"))
            expected = transform(camera.xmat.reshape(3, 3) @ to_optical, camera.xpos)
        else:
            expected = transform(DATA.body(name).xmat.reshape(3, 3), DATA.body(name).xpos)
        np.testing.assert_allclose(pose, expected, err_msg=name, **SAME)


def test_joints_have_the_names_limits_and_motors_of_the_arm():
    joints = [joint for joint in ROBOT.iter("joint") if joint.get("type") == "revolute"]
    assert tuple(joint.get("name") for joint in joints) == SO101.joint_names
    for joint, lower, upper in zip(joints, SO101.lower_rad, SO101.upper_rad, strict=True):
        limit = joint.find("limit")
        assert float(limit.get("lower")) == pytest.approx(lower, abs=1e-5)
        assert float(limit.get("upper")) == pytest.approx(upper, abs=1e-5)
        assert float(limit.get("effort")) == 2.94  # STS3215 at 12 V: stall torque, N m
        assert float(limit.get("velocity")) == pytest.approx(4.71, abs=0.01)  # 45 rpm


def test_masses_and_inertias_are_those_of_the_simulator():
    for link in ROBOT.iter("link"):
        inertial = link.find("inertial")
        if inertial is None:
            continue
        body = MODEL.body(link.get("name"))
        np.testing.assert_allclose(origin(inertial)[:3, 3], body.ipos, **SAME)
        assert float(inertial.find("mass").get("value")) == pytest.approx(body.mass[0])
        i = {key: float(value) for key, value in inertial.find("inertia").attrib.items()}
        matrix = [[i["ixx"], i["ixy"], i["ixz"]], [i["ixy"], i["iyy"], i["iyz"]]]
        matrix.append([i["ixz"], i["iyz"], i["izz"]])
        principal = np.linalg.eigvalsh(np.array(matrix))
        np.testing.assert_allclose(principal, np.sort(body.inertia), rtol=1e-4)


def test_every_shape_of_the_arm_is_there_in_its_place():
    mujoco.mj_resetData(MODEL, DATA)
    mujoco.mj_kinematics(MODEL, DATA)
    poses = link_poses(dict.fromkeys(SO101.joint_names, 0.0))
    seen = set()
    for link in ROBOT.iter("link"):
        for tag in (*link.findall("visual"), *link.findall("collision")):
            geom = MODEL.geom(tag.get("name"))
            pose = poses[link.get("name")] @ origin(tag)
            np.testing.assert_allclose(pose[:3, 3], DATA.geom(geom.id).xpos, **SAME)
            np.testing.assert_allclose(pose[:3, :3].ravel(), DATA.geom(geom.id).xmat, **SAME)
            shape = tag.find("geometry")[0]
            if shape.tag == "box":
                np.testing.assert_allclose(numbers(shape, "size"), 2 * geom.size)
            else:
                size = numbers(shape, "radius")[0], numbers(shape, "length")[0] / 2
                np.testing.assert_allclose(size, geom.size[:2])
            seen.add(geom.id)
    base = MODEL.body("base_link").id
    assert seen == {
        g for g in range(MODEL.ngeom) if MODEL.body_rootid[MODEL.geom_bodyid[g]] == base
    }


def test_the_camera_frames_are_those_of_the_stream_table():
    table = load_stream_table(FILE.parents[1] / "config" / "streams.yaml")
    links = {link.get("name") for link in ROBOT.iter("link")}
    assert {stream.frame_id for stream in table} <= links
