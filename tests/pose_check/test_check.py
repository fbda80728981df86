"""The shipped weights on cameras of the simulator that are sound, knocked, covered and late."""

from pathlib import Path

import mujoco
import numpy as np
import pytest

from multismolvla.embodiment.so101 import SO101
from multismolvla.faults.registry import find_fault
from multismolvla.pose_check.check import CONTRADICTS, PoseCheck
from multismolvla.pose_check.weights import SHIPPED, load_weights
from multismolvla.sim.cameras import Cameras
from multismolvla.sim.simulation import Simulation
from multismolvla.sim.tasks import find_task
from multismolvla.streams import load_stream_table

TABLE = load_stream_table(Path(__file__).parents[2] / "config" / "streams.yaml")
WEIGHTS = load_weights(SHIPPED)
# On the way to an object, and above it.
POSES = (SO101.home_rad, SO101.home_rad + np.array([0.5, 0.5, -0.4, 0.1, 0.6, 0.4]))


@pytest.fixture(scope="module")
def views():
    """What every camera sees, by pose."""
    simulation = Simulation()
    simulation.reset(find_task("red_cube_in_bin"), 7)
    cameras = Cameras(simulation.model, TABLE)
    data = mujoco.MjData(simulation.model)
    simulation.snapshot(data)
    seen = []
    for pose in POSES:
        for name, position in zip(SO101.joint_names, pose, strict=True):
            data.joint(name).qpos = position
        mujoco.mj_forward(simulation.model, data)
        seen.append(cameras.render(data, list(TABLE.names), 0.0))
    cameras.close()
    return seen


def judged(frames, joints, times=12) -> set[str]:
    check = PoseCheck(WEIGHTS)
    for _ in range(times):
        found = check.judge(frames, joints)
    assert set(found.values()) <= {CONTRADICTS}
    return set(found)


@pytest.mark.parametrize("pose", range(len(POSES)))
def test_sound_pictures_fit_the_joints(views, pose):
    assert judged(views[pose], POSES[pose], times=60) == set()


@pytest.mark.parametrize("fault", ["shifted_view", "occlusion"])
@pytest.mark.parametrize("pose", range(len(POSES)))
def test_a_camera_that_was_knocked_or_covered_contradicts(views, pose, fault):
    for name, frame in views[pose].items():
        damaged = find_fault(fault).at_severity(TABLE[name].kind, 4, 1).corrupt(frame)
        assert judged({**views[pose], name: damaged}, POSES[pose]) == {name}


def test_wrong_joints_contradict_every_picture(views):
    assert judged(views[0], POSES[1]) == set(TABLE.names)


def test_labels_that_are_computed_contradict_with_what_they_are_computed_from(views):
    check = PoseCheck(WEIGHTS, TABLE.derived)
    shifted = find_fault("shifted_view").at_severity("depth", 4, 1).corrupt(views[0]["depth"])
    # Not by their own pictures, which are not those of a camera.
    blank = np.zeros_like(views[0]["segmentation"])
    for _ in range(12):
        assert not check.judge({**views[0], "segmentation": blank}, POSES[0])
    for _ in range(12):
        found = check.judge({**views[0], "depth": shifted}, POSES[0])
    assert set(found) == {"depth", "segmentation"}


def test_what_is_not_there_or_not_known_is_not_judged(views):
    check = PoseCheck(WEIGHTS)
    for _ in range(12):
        check.judge({"rgb": views[0]["rgb"], "depth": None}, POSES[1])
    assert set(check.judge(dict.fromkeys(TABLE.names), POSES[0])) == {"rgb"}
    assert set(check.judge({"front/rgb": views[0]["rgb"]}, POSES[0])) == {"rgb"}
    check.forget()
    assert not check.judge({}, POSES[0])
