"""A robot description as shapes that hang on joints, for a viewer that has none of ROS."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

Vector = tuple[float, float, float]
# w, x, y, z.
Quaternion = tuple[float, float, float, float]

GREY = (0.7, 0.7, 0.7, 1.0)


class UrdfError(ValueError):
    """The description cannot be shown; the message names file, element and what was expected."""


class Shape(NamedTuple):
    """A visible solid of a link.

    Attributes:
        kind: `box`, `cylinder` (along z) or `sphere`.
        size: metres: edges; radius and length; radius.
        position, wxyz: pose in the link's frame, metres.
        rgba: colour, 0 to 1.
    """

    kind: str
    size: tuple[float, ...]
    position: Vector
    wxyz: Quaternion
    rgba: tuple[float, float, float, float]


class Joint(NamedTuple):
    """How a link hangs on its parent; `axis` is a unit vector, None where nothing turns."""

    name: str
    parent: str
    child: str
    position: Vector
    wxyz: Quaternion
    axis: Vector | None

    def turned(self, angle: float) -> Quaternion:
        """Orientation of the child in the parent's frame with the joint at `angle`, radians."""
        if self.axis is None:
            return self.wxyz
        sine = math.sin(angle / 2)
        x, y, z = self.axis
        return multiply(self.wxyz, (math.cos(angle / 2), sine * x, sine * y, sine * z))


class RobotShapes(NamedTuple):
    """Shapes by link, and the joints, each after the one that it hangs on."""

    root: str
    shapes: dict[str, list[Shape]]
    joints: list[Joint]


def load_urdf(path: str | Path) -> RobotShapes:
    """Read a URDF with boxes, cylinders and spheres.

    Raises:
        UrdfError: the file is missing or wrong, or has something that is not translated.
    """
    try:
        robot = ElementTree.parse(path).getroot()
        return _read(robot)
    except OSError as error:
        raise UrdfError(f"{path}: cannot read it: {error.strerror}") from None
    except ElementTree.ParseError as error:
        raise UrdfError(f"{path}: not valid XML: {error}") from None
    except ValueError as error:
        raise UrdfError(f"{path}: {error}") from None


def _read(robot: Element) -> RobotShapes:
    colours = {
        material.get("name"): _colour(material)
        for material in robot.findall("material")
        if material.find("color") is not None
    }
    shapes = {
        link.get("name", ""): [_shape(visual, colours) for visual in link.findall("visual")]
        for link in robot.findall("link")
    }
    waiting = [_joint(joint) for joint in robot.findall("joint")]
    for joint in waiting:
        for link in (joint.parent, joint.child):
            if link not in shapes:
                raise ValueError(f"joint '{joint.name}' names link '{link}', which is not there")
    roots = set(shapes) - {joint.child for joint in waiting}
    if len(roots) != 1:
        raise ValueError(f"expected one link without a parent, found {sorted(roots)}")
    (root,) = roots
    joints: list[Joint] = []
    reached = {root}
    while waiting:
        ready = [joint for joint in waiting if joint.parent in reached]
        if not ready:
            raise ValueError(f"the joints {[joint.name for joint in waiting]} go round in a circle")
        joints += ready
        reached |= {joint.child for joint in ready}
        waiting = [joint for joint in waiting if joint not in ready]
    return RobotShapes(root, shapes, joints)


def _joint(element: Element) -> Joint:
    name, kind = element.get("name", ""), element.get("type")
    if kind not in ("revolute", "continuous", "fixed"):
        raise ValueError(f"joint '{name}' is {kind}; expected revolute, continuous or fixed")
    parent, child = element.find("parent"), element.find("child")
    if parent is None or child is None:
        raise ValueError(f"joint '{name}' lacks its parent or its child")
    axis = None
    if kind != "fixed":
        given = element.find("axis")
        axis = _vector(given, "xyz") if given is not None else (1.0, 0.0, 0.0)
        length = math.hypot(*axis)
        if length == 0.0:
            raise ValueError(f"joint '{name}' has an axis of length zero")
        axis = tuple(value / length for value in axis)
    return Joint(name, parent.get("link", ""), child.get("link", ""), *_pose(element), axis)


def _shape(visual: Element, colours: dict) -> Shape:
    name = visual.get("name", "")
    geometry = visual.find("geometry")
    solid = geometry[0] if geometry is not None and len(geometry) else None
    kind = solid.tag if solid is not None else "nothing"
    if kind == "box":
        size = _vector(solid, "size")
    elif kind == "cylinder":
        size = (float(solid.get("radius", "")), float(solid.get("length", "")))
    elif kind == "sphere":
        size = (float(solid.get("radius", "")),)
    else:
        raise ValueError(f"visual '{name}' is {kind}; expected box, cylinder or sphere")
    material = visual.find("material")
    rgba = GREY
    if material is not None:
        own = material.find("color") is not None
        rgba = _colour(material) if own else colours.get(material.get("name"), GREY)
    return Shape(kind, size, *_pose(visual), rgba)


def _colour(material: Element) -> tuple[float, float, float, float]:
    values = tuple(float(value) for value in material.find("color").get("rgba", "").split())
    if len(values) != 4:
        raise ValueError(f"material '{material.get('name')}' has {len(values)} values; expected 4")
    return values


def _pose(element: Element) -> tuple[Vector, Quaternion]:
    origin = element.find("origin")
    if origin is None:
        return (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0)
    roll, pitch, yaw = (angle / 2 for angle in _vector(origin, "rpy", "0 0 0"))
    about_z = (math.cos(yaw), 0.0, 0.0, math.sin(yaw))
    about_y = (math.cos(pitch), 0.0, math.sin(pitch), 0.0)
    about_x = (math.cos(roll), math.sin(roll), 0.0, 0.0)
    return _vector(origin, "xyz", "0 0 0"), multiply(multiply(about_z, about_y), about_x)


def _vector(element: Element, key: str, default: str = "") -> Vector:
    text = element.get(key, default)
    values = tuple(float(value) for value in text.split())
    if len(values) != 3 or not all(map(math.isfinite, values)):
        raise ValueError(f"<{element.tag}> has {key}='{text}'; expected three numbers")
    return values


def multiply(first: Quaternion, second: Quaternion) -> Quaternion:
    """The rotation that turns by `second` and then by `first`; w, x, y, z."""
    w, x, y, z = first
    a, b, c, d = second
    return (
        w * a - x * b - y * c - z * d,
        w * b + x * a + y * d - z * c,
        w * c - x * d + y * a + z * b,
        w * d + x * c - y * b + z * a,
    )
