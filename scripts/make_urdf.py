"""The URDF of our arm, made from the simulator's model: `urdf/so101.urdf` in the repository.

    ./run python scripts/make_urdf.py urdf/so101.urdf

Robot model and simulated arm cannot drift apart that way. Beside the links, every site on the
arm becomes a frame of its name, and every camera of the scene its optical frame.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import mujoco
import numpy as np

from multismolvla.sim.simulation import SCENE_FILE

BASE = "base_link"
HEADER = """<?xml version="1.0"?>
<!-- Made from the simulator's model by `scripts/make_urdf.py`; a test keeps
     the two equal. The cameras are where they are in simulation: for other places, edit a copy and
     name it in the launch argument `urdf`. -->
"""
# A camera of MuJoCo looks along -z with y up, an optical frame (REP 103) along z with y down.
_TO_OPTICAL = np.diag([1.0, -1.0, -1.0])


def urdf(model: mujoco.MjModel) -> str:
    """Return the URDF of the arm in a compiled model, shapes as in the simulator.

    Raises:
        ValueError: the model has something that this does not translate; the message names it.
    """
    base = model.body(BASE).id
    bodies = [b for b in range(model.nbody) if _is_below(model, b, base)]
    if np.abs(model.body_pos[base]).max() > 0 or model.body_quat[base][0] != 1:
        raise ValueError(
            f"{BASE} is not at the origin of the model, where the cameras are measured"
        )
    robot = Element("robot", name="so101")
    for material in _materials(model, bodies):
        name = model.mat(material).name
        colour = _text(model.mat_rgba[material].astype(float).round(4))  # Kept in single precision.
        SubElement(SubElement(robot, "material", name=name), "color", rgba=colour)
    for body in bodies:
        _add_link(robot, model, body, inertial=body != base)
        if body != base:
            _add_joint(robot, model, body)
    for site in range(model.nsite):
        if model.site_bodyid[site] in bodies:
            body = model.body(model.site_bodyid[site]).name
            rotation = _matrix(model.site_quat[site])
            _add_frame(robot, body, model.site(site).name, model.site_pos[site], rotation)
    for camera in range(model.ncam):
        body = model.cam_bodyid[camera]
        _add_frame(
            robot,
            model.body(body).name if body in bodies else BASE,
            f"{model.cam(camera).name}_optical_frame",
            model.cam_pos[camera],
            _matrix(model.cam_quat[camera]) @ _TO_OPTICAL,
        )
    ElementTree.indent(robot)
    return HEADER + ElementTree.tostring(robot, encoding="unicode") + "\n"


def _is_below(model: mujoco.MjModel, body: int, ancestor: int) -> bool:
    while body not in (0, ancestor):
        body = int(model.body_parentid[body])
    return body == ancestor


def _geoms(model: mujoco.MjModel, body: int) -> Iterator[int]:
    first = int(model.body_geomadr[body])
    return iter(range(first, first + int(model.body_geomnum[body])))


def _materials(model: mujoco.MjModel, bodies: list[int]) -> list[int]:
    return sorted({int(model.geom_matid[geom]) for body in bodies for geom in _geoms(model, body)})


def _add_link(robot: Element, model: mujoco.MjModel, body: int, inertial: bool) -> None:
    link = SubElement(robot, "link", name=model.body(body).name)
    if inertial:  # The base stands still, and robot_state_publisher wants no inertia in the root.
        _add_inertial(link, model, body)
    for geom in _geoms(model, body):
        collides = model.geom_contype[geom] or model.geom_conaffinity[geom]
        for tag in ("visual", "collision") if collides else ("visual",):
            element = SubElement(link, tag, name=model.geom(geom).name)
            _add_origin(element, model.geom_pos[geom], _matrix(model.geom_quat[geom]))
            _add_shape(SubElement(element, "geometry"), model, geom)
            if tag == "visual":
                SubElement(element, "material", name=model.mat(model.geom_matid[geom]).name)


def _add_inertial(link: Element, model: mujoco.MjModel, body: int) -> None:
    rotation = _matrix(model.body_iquat[body])
    inertia = rotation @ np.diag(model.body_inertia[body]) @ rotation.T
    element = SubElement(link, "inertial")
    _add_origin(element, model.body_ipos[body], np.eye(3))
    SubElement(element, "mass", value=_text(model.body_mass[body]))
    axes = "xyz"
    SubElement(
        element,
        "inertia",
        {f"i{axes[i]}{axes[j]}": _text(inertia[i, j]) for i in range(3) for j in range(i, 3)},
    )


def _add_shape(geometry: Element, model: mujoco.MjModel, geom: int) -> None:
    size = model.geom_size[geom]
    kind = model.geom_type[geom]
    if kind == mujoco.mjtGeom.mjGEOM_BOX:
        SubElement(geometry, "box", size=_text(2 * size))
    elif kind == mujoco.mjtGeom.mjGEOM_CYLINDER:
        SubElement(geometry, "cylinder", radius=_text(size[0]), length=_text(2 * size[1]))
    else:
        raise ValueError(f"geom '{model.geom(geom).name}' is neither a box nor a cylinder")


def _add_joint(robot: Element, model: mujoco.MjModel, body: int) -> None:
    """Connect a body with its parent: by its hinge, or fixed where it has none."""
    name, parent = model.body(body).name, model.body(model.body_parentid[body]).name
    rotation = _matrix(model.body_quat[body])
    if not model.body_jntnum[body]:
        _add_fixed_joint(robot, parent, name, model.body_pos[body], rotation)
        return
    joint = int(model.body_jntadr[body])
    hinge = model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_HINGE
    if not hinge or model.body_jntnum[body] != 1 or np.any(model.jnt_pos[joint]):
        raise ValueError(f"body '{name}' has more than one hinge at its origin")
    element = SubElement(robot, "joint", name=model.joint(joint).name, type="revolute")
    _add_origin(element, model.body_pos[body], rotation)
    SubElement(element, "parent", link=parent)
    SubElement(element, "child", link=name)
    SubElement(element, "axis", xyz=_text(model.jnt_axis[joint]))
    lower, upper = model.jnt_range[joint]
    damping = float(model.dof_damping[model.jnt_dofadr[joint]])
    torque = float(model.actuator(model.joint(joint).name).forcerange[1])
    # The damping is the motor's own: see the actuators in so101.xml.
    limits = {"lower": lower, "upper": upper, "effort": torque, "velocity": torque / damping}
    SubElement(element, "limit", {key: _text(value) for key, value in limits.items()})


def _add_frame(
    robot: Element, parent: str, name: str, position: np.ndarray, rotation: np.ndarray
) -> None:
    SubElement(robot, "link", name=name)
    _add_fixed_joint(robot, parent, name, position, rotation)


def _add_fixed_joint(
    robot: Element, parent: str, child: str, position: np.ndarray, rotation: np.ndarray
) -> None:
    element = SubElement(robot, "joint", name=f"{child}_joint", type="fixed")
    _add_origin(element, position, rotation)
    SubElement(element, "parent", link=parent)
    SubElement(element, "child", link=child)


def _add_origin(element: Element, position: np.ndarray, rotation: np.ndarray) -> None:
    SubElement(element, "origin", xyz=_text(position), rpy=_text(_roll_pitch_yaw(rotation)))


def _matrix(quaternion: np.ndarray) -> np.ndarray:
    matrix = np.empty(9)
    mujoco.mju_quat2Mat(matrix, quaternion)
    return matrix.reshape(3, 3)


def _roll_pitch_yaw(rotation: np.ndarray) -> tuple[float, float, float]:
    """Angles about the fixed axes x, y, z; yaw 0 where the pitch is upright."""
    r = rotation
    level = math.hypot(r[0, 0], r[1, 0])
    pitch = math.atan2(-r[2, 0], level)
    if level < 1e-6:
        return math.atan2(-r[1, 2], r[1, 1]), pitch, 0.0
    return math.atan2(r[2, 1], r[2, 2]), pitch, math.atan2(r[1, 0], r[0, 0])


def _text(values: object) -> str:
    # Adding zero takes the sign from -0.
    return " ".join(
        f"{value + 0.0:.10g}" for value in np.atleast_1d(values).astype(float).round(12)
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "file", type=Path, nargs="?", help="URDF to write (default: standard output)"
    )
    file = parser.parse_args().file
    text = urdf(mujoco.MjModel.from_xml_path(str(SCENE_FILE)))
    if file is None:
        sys.stdout.write(text)
    else:
        file.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
