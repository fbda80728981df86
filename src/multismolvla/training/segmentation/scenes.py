"""Random scenes of the simulated table and the frames that its cameras take of them."""

from __future__ import annotations

import contextlib
import math

import mujoco
import numpy as np

from multismolvla.embodiment.pan_pitch_arm import UnreachableError
from multismolvla.embodiment.so101 import KINEMATICS, SO101
from multismolvla.modalities.conversion import condition
from multismolvla.modalities.registry import find_modality
from multismolvla.modalities.segmentation import LABELS
from multismolvla.sim.cameras import Cameras
from multismolvla.sim.labels import label_of_geom
from multismolvla.sim.layout import BIN_CENTRE, BIN_FLOOR, PLATE_CENTRE, PLATE_TOP, SHAPES
from multismolvla.sim.simulation import SCENE_FILE
from multismolvla.streams import StreamTable

# Where objects and gripper are, metres in base_link: the reach of the arm and a bit more.
_X, _Y = (0.10, 0.36), (-0.20, 0.20)
_HAND_HEIGHT = (0.01, 0.20)
# Share of scenes with a random arm pose; in the others the gripper works above the table.
_ANYWHERE = 0.3
_HELD, _IN_BIN, _ON_PLATE, _TOPPLED = 0.35, 0.15, 0.15, 0.25
_POSE_ATTEMPTS = 200
# Deeper than this no two things can be in each other.
_PENETRATION_M = 0.006
_GROUPS = {
    LABELS.index(label): group
    for group, labels in {
        "arm": ("arm", "gripper"),
        "fixture": ("table", "bin", "plate"),
        "object": ("cube", "cylinder", "brick"),
    }.items()
    for label in labels
}

Views = dict[str, dict[str, np.ndarray]]


class Scenes:
    """An endless, seeded sequence of scenes, each seen by every view of a stream table."""

    def __init__(
        self,
        table: StreamTable,
        seed: int,
        vary_appearance: bool,
        camera_shift_m: float = 0.004,
        fixture_shift_m: float = 0.008,
    ) -> None:
        """Load the scene.

        Args:
            vary_appearance: change light, colours and the sensors' faults from scene to scene.
            camera_shift_m, fixture_shift_m: and by how much cameras, bin and plate are out of
                their places: standard deviation of each coordinate.
        """
        self._camera_shift_m, self._fixture_shift_m = camera_shift_m, fixture_shift_m
        self._rng = np.random.default_rng(seed)
        self._table = table
        self._vary_appearance = vary_appearance
        self._model = mujoco.MjModel.from_xml_path(str(SCENE_FILE))
        self._nominal = mujoco.MjModel.from_xml_path(str(SCENE_FILE))
        self._data = mujoco.MjData(self._model)
        self._cameras = Cameras(self._model, table, seed)

    def next(self) -> Views:
        """Draw a scene and return view -> kind -> frame, with the simulator's labels."""
        if self._vary_appearance:
            self._vary()
        self._pose()
        time_s = self._rng.uniform(0.0, 3600.0)
        frames = self._cameras.render(self._data, self._table.names, time_s)
        views: Views = {}
        for stream in self._table:
            views.setdefault(stream.view, {})[stream.kind] = frames[stream.name]
        if self._vary_appearance:
            for view in views.values():
                self._disturb(view)
        return {view: self._condition(view, raw) for view, raw in views.items()}

    @property
    def joints(self) -> np.ndarray:
        """(6,) joint angles of the last scene, radians."""
        return np.array([float(self._data.joint(name).qpos[0]) for name in SO101.joint_names])

    @property
    def object_poses(self) -> dict[str, np.ndarray]:
        """Object -> (7,) x, y, z, qw, qx, qy, qz of the last scene, metres in base_link."""
        return {name: self._data.joint(name).qpos.copy() for name in SHAPES}

    def close(self) -> None:
        """Free the cameras."""
        self._cameras.close()

    def _condition(self, view: str, raw: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        # The network labels at one size, whatever sizes the table gives the inputs.
        size = next(
            (stream.height, stream.width)
            for stream in self._table
            if (stream.view, stream.kind) == (view, "segmentation")
        )
        return {kind: condition(find_modality(kind), frame, *size) for kind, frame in raw.items()}

    def _pose(self) -> None:
        for _ in range(_POSE_ATTEMPTS):
            self._pose_arm()
            self._pose_objects()
            mujoco.mj_fwdPosition(self._model, self._data)
            if not self._overlaps():
                return
        raise RuntimeError(f"no scene without overlaps in {_POSE_ATTEMPTS} draws")

    def _pose_arm(self) -> None:
        rng = self._rng
        joints = rng.uniform(SO101.lower_rad, SO101.upper_rad)
        if rng.random() > _ANYWHERE:
            point = [rng.uniform(*_X), rng.uniform(*_Y), rng.uniform(*_HAND_HEIGHT)]
            pitch, roll = rng.uniform(0.7, math.pi / 2), rng.uniform(-1.7, 1.7)
            with contextlib.suppress(UnreachableError):
                joints[:5] = KINEMATICS.inverse(point, pitch, roll)
            joints = joints.clip(SO101.lower_rad, SO101.upper_rad)
            joints[5] = rng.uniform(0.1, 0.9)
        self._joints = joints
        for name, position in zip(SO101.joint_names, joints, strict=True):
            self._data.joint(name).qpos = position

    def _pose_objects(self) -> None:
        rng = self._rng
        held = rng.choice(list(SHAPES)) if rng.random() < _HELD else None
        grip, rotation = KINEMATICS.forward(self._joints)
        for name, shape in SHAPES.items():
            luck = rng.random()
            x, y, z = rng.uniform(*_X), rng.uniform(*_Y), 0.0
            if luck < _IN_BIN:
                (x, y), z = BIN_CENTRE + rng.uniform(-0.03, 0.03, 2), BIN_FLOOR
            elif luck < _IN_BIN + _ON_PLATE:
                (x, y), z = PLATE_CENTRE + rng.uniform(-0.03, 0.03, 2), PLATE_TOP
            elif luck < 0.6 and grip[2] < 0.25:
                x, y = grip[:2] + rng.normal(0.0, 0.04, 2)
            spin = _about((0.0, 0.0, 1.0), rng.uniform(-math.pi, math.pi))
            height = shape.half[2]
            if rng.random() < _TOPPLED:
                spin = _multiply(spin, _about((1.0, 0.0, 0.0), math.pi / 2))
                height = shape.half[1]
            position = np.array([x, y, z + height])
            if name == held:
                # Upright in a gripper that points down, between the fingers, slightly rotated.
                across, closing, out = -rotation[:, 1], rotation[:, 2], rotation[:, 0]
                mujoco.mju_mat2Quat(spin, np.stack([across, closing, -out], 1).ravel())
                spin = _multiply(spin, _about((0.0, 0.0, 1.0), rng.normal(0.0, 0.2)))
                position = grip + rng.normal(0.0, 0.005, 3)
                self._data.joint("gripper").qpos = rng.uniform(0.2, 0.4)
            self._data.joint(name).qpos = [*position, *spin]

    def _overlaps(self) -> bool:
        """Whether the arm is inside a fixture or one object inside another."""
        contact = self._data.contact
        deep = np.asarray(contact.geom)[np.asarray(contact.dist) < -_PENETRATION_M]
        for pair in deep:
            groups = {_GROUPS[label_of_geom(self._model, int(geom))] for geom in pair}
            if groups in ({"arm", "fixture"}, {"object"}):
                return True
        return False

    def _vary(self) -> None:
        rng, model, nominal = self._rng, self._model, self._nominal
        brightness = rng.uniform(0.5, 1.5)
        tint = rng.uniform(0.85, 1.15, 3)
        for name in ("ambient", "diffuse"):
            value = getattr(nominal.vis.headlight, name) * rng.uniform(0.6, 1.3) * brightness * tint
            getattr(model.vis.headlight, name)[:] = value
        model.light_diffuse[:] = nominal.light_diffuse * rng.uniform(0.3, 1.4) * brightness * tint
        model.light_pos[:] = nominal.light_pos + rng.normal(0.0, 0.4, nominal.light_pos.shape)
        colours = nominal.mat_rgba[:, :3]
        model.mat_rgba[:, :3] = (colours * rng.normal(1.0, 0.08, colours.shape)).clip(0.0, 1.0)
        # No two tables are set up alike, and no camera holder is bent to a millimetre.
        model.cam_pos[:] = nominal.cam_pos + rng.normal(
            0.0, self._camera_shift_m, nominal.cam_pos.shape
        )
        for name in ("bin", "plate"):
            body = model.body(name).id
            shift = rng.normal(0.0, self._fixture_shift_m, 2)
            model.body_pos[body, :2] = nominal.body_pos[body, :2] + shift

    def _disturb(self, view: dict[str, np.ndarray]) -> None:
        rng = self._rng
        if rng.random() < 0.5:
            gain, offset = rng.uniform(0.6, 1.4), rng.uniform(-25.0, 25.0)
            noise = rng.uniform(0.0, 8.0) * rng.standard_normal(view["rgb"].shape, np.float32)
            view["rgb"] = (view["rgb"] * gain + offset + noise).clip(0, 255).astype(np.uint8)
        view["thermal"] += np.float32(rng.normal(0.0, 1.0))
        if rng.random() < 0.3:
            lost = rng.random(view["depth"].shape) < rng.uniform(0.0, 0.15)
            view["depth"][lost] = np.nan


def _about(axis: tuple[float, float, float], angle: float) -> np.ndarray:
    quaternion = np.zeros(4)
    mujoco.mju_axisAngle2Quat(quaternion, np.array(axis), angle)
    return quaternion


def _multiply(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    product = np.zeros(4)
    mujoco.mju_mulQuat(product, first, second)
    return product
