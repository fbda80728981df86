"""Arms as data: by name, from YAML, and one with seven joints through the policy."""

import dataclasses

import numpy as np
import pytest
import torch
from seven_joints import described, load

from multismolvla.embodiment.description import EmbodimentError
from multismolvla.embodiment.embodiment_file import load_embodiment, load_joint_arm
from multismolvla.embodiment.so101 import SO101
from multismolvla.policy.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from multismolvla.policy.config import tiny
from multismolvla.policy.gripper_frame import SCALE_M, gripper_pose
from multismolvla.policy.model import MultiSmolVLA
from multismolvla.policy.normalization import Normalizer
from multismolvla.policy.tokenizer import SHIPPED_FILE, Tokenizer
from multismolvla.streams import Stream

STREAMS = (Stream("rgb", "rgb", 32, 32, 15.0, "camera_optical_frame"),)


def test_an_arm_is_found_by_its_name_and_by_its_file(tmp_path):
    assert load_embodiment("so101") is SO101
    seven = load(tmp_path, described())
    assert len(seven) == 7 and seven.gripper_joints == ("fingers",)
    np.testing.assert_allclose(seven.home_rad, [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.0])
    # Each has its own numbers in one process.
    assert SO101.lower_rad.shape == (6,) and seven.lower_rad.shape == (7,)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda c: c.update(joint=1), "unknown key 'joint'; expected name, joints"),
        (lambda c: c["joints"][2].pop("upper_rad"), r"missing key 'joints\[2\].upper_rad'"),
        (lambda c: c["joints"][2].update(lower_rad=3.0), r"joints\[2\].lower_rad is 3.0 .*less"),
        (lambda c: c["joints"][2].update(lower_rad=-170), r"lower_rad is -170.0 .*degrees"),
        (lambda c: c["joints"][2].update(lower_deg=-170), r"unknown key 'joints\[2\].lower_deg'"),
        (lambda c: c["joints"][2].update(name="joint1"), "joints has 'joint1' twice"),
        (lambda c: c["joints"].__delitem__(slice(1, 6)), "moves 6 joints; expected at most 2"),
        (lambda c: c["kinematics"][0].update(axis=[0, 0, 2]), r"axis is .*length 1"),
        (lambda c: c["grippers"][0].update(open_rad=2.0), "open_rad is 2.0 .*the joint's limits"),
    ],
)
def test_a_wrong_file_is_one_line_with_file_and_key(tmp_path, change, complaint):
    content = described()
    change(content)
    with pytest.raises(EmbodimentError, match=rf"arm\.yaml: .*{complaint}") as error:
        load(tmp_path, content)
    assert "\n" not in str(error.value)


def test_an_arm_of_end_effector_deltas_has_its_own_names_and_follows_no_trajectory(tmp_path):
    names = ["x", "y", "z", "roll", "pitch", "yaw", "gripper"]
    action = {
        "kind": "end_effector_deltas",
        "names": names,
        "lower": [-1.0] * 7,
        "upper": [1.0] * 7,
    }
    content = described() | {"action": action, "state": [f"s{i}" for i in range(8)]}
    arm = load(tmp_path, content)
    assert len(arm.state_names) == 8 and arm.action_names == tuple(names)
    config = tiny(STREAMS, arm)
    assert config.action_names == tuple(names) and Normalizer(config).action_mean.shape == (7,)
    with pytest.raises(EmbodimentError, match="expected an arm that follows joint targets"):
        load_joint_arm(tmp_path / "arm.yaml")


def test_the_policy_computes_a_chain_as_the_embodiment_does(tmp_path):
    chain = load(tmp_path, described()).kinematics
    angles = np.random.default_rng(0).uniform(-2, 2, (4, 7))
    poses = gripper_pose(chain, torch.from_numpy(angles))
    for pose, row in zip(poses, angles, strict=True):
        position, rotation = chain.forward(row)
        np.testing.assert_allclose(
            pose[:3], (position - np.array(chain.centre_m)) / SCALE_M, atol=1e-9
        )
        np.testing.assert_allclose(pose[3:], rotation.ravel(), atol=1e-9)


def test_a_checkpoint_of_seven_joints_is_for_that_arm_only(tmp_path):
    seven = load(tmp_path, described())
    config = dataclasses.replace(tiny(STREAMS, seven), objects=("red_cube",))
    config = dataclasses.replace(config, text=dataclasses.replace(config.text, vocab_size=1024))
    tokenizer = Tokenizer.load(SHIPPED_FILE, config.max_language_tokens)
    model = MultiSmolVLA(config, seven.kinematics)
    save_checkpoint(
        tmp_path / "seven", model, config, tokenizer, Normalizer(config, seven.kinematics)
    )
    loaded = load_checkpoint(tmp_path / "seven", seven)
    assert loaded.config == config and loaded.normalizer.state_mean.shape == (7,)
    with pytest.raises(CheckpointError, match=r"states are joint0, .*the arm 'so101' has shoulder"):
        load_checkpoint(tmp_path / "seven", SO101)
    with pytest.raises(CheckpointError, match=r"states are shoulder_pan, .*'seven' has joint0"):
        load_checkpoint("small", seven)


OTHERS = {
    "numbered": ["1", "2", "3", "4", "5", "6"],
    "so100": ["Rotation", "Pitch", "Elbow", "Wrist_Pitch", "Wrist_Roll", "Jaw"],
}


@pytest.mark.parametrize("names", OTHERS.values(), ids=OTHERS)
def test_joints_of_other_names_are_listed_and_never_taken_in_silence(names):
    with pytest.raises(EmbodimentError) as error:
        SO101.state_of(names, [0.0] * 6)
    assert f"the joints {', '.join(names)}; the arm 'so101' has shoulder_pan" in str(error.value)
    assert "topic_name" in str(error.value)


@pytest.mark.parametrize("names", OTHERS.values(), ids=OTHERS)
def test_a_table_maps_joints_of_other_names(names):
    joints = [
        dataclasses.replace(joint, topic_name=name)
        for joint, name in zip(SO101.joints, names, strict=True)
    ]
    arm = dataclasses.replace(SO101, joints=tuple(joints))
    assert arm.state_of(names[::-1], [5, 4, 3, 2, 1, 0]).tolist() == [0, 1, 2, 3, 4, 5]
    assert arm.topic_names(arm.action_names) == names
    assert arm.own_names(names) == list(SO101.joint_names)
    # Checkpoints and data sets know it by its own names.
    arm.check_policy(SO101.joint_names, SO101.joint_names, "a checkpoint")


@pytest.mark.parametrize(
    ("names", "positions", "complaint"),
    [
        (SO101.joint_names[:5], [0.0] * 5, "the arm 'so101' has"),
        ((*SO101.joint_names, "gripper"), [0.0] * 7, "each once"),
        (SO101.joint_names, [0.0] * 5, "5 positions for the joints"),
        ((), (), "without names"),
        (SO101.joint_names, [0.0] * 5 + [float("nan")], "no finite position for gripper"),
    ],
)
def test_a_state_that_is_not_this_arm_s_is_refused(names, positions, complaint):
    with pytest.raises(EmbodimentError, match=complaint):
        SO101.state_of(names, positions)


def test_more_joints_than_the_arm_has_are_left_out():
    names = ("wheel", *SO101.joint_names)
    assert SO101.state_of(names, [float("nan"), 0, 1, 2, 3, 4, 5]).tolist() == [0, 1, 2, 3, 4, 5]


def test_two_joints_have_two_names_on_topics():
    joints = [dataclasses.replace(joint, topic_name="1") for joint in SO101.joints]
    with pytest.raises(EmbodimentError, match="topic_name has '1' twice"):
        dataclasses.replace(SO101, joints=tuple(joints))
