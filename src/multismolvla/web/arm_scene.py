"""The arm in viser's scene: its shapes once, then only the turning of its joints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from multismolvla.monitoring.urdf import RobotShapes

# Against the dark background.
GRID = (70, 74, 80)
PLAN_COLOUR = (26, 191, 255)
PLAN_WIDTH_M = 0.004
# From where the arm and the table before it fill the picture.
CAMERA, LOOK_AT = (0.46, -0.28, 0.32), (0.13, 0.0, 0.10)


class ArmScene:
    """Shapes, joints and the planned path, in base_link."""

    def __init__(self, server: Any, robot: RobotShapes) -> None:
        self._scene = server.scene
        self._shown: dict[str, float] = {}
        server.initial_camera.position, server.initial_camera.look_at = CAMERA, LOOK_AT
        self._scene.add_grid(
            "/floor",
            width=1.0,
            height=1.0,
            plane="xy",
            cell_size=0.05,
            cell_color=GRID,
            section_size=0.25,
            section_color=GRID,
        )
        places = {robot.root: f"/{robot.root}"}
        self._scene.add_frame(places[robot.root], show_axes=False)
        self._joints = {}
        for joint in robot.joints:
            places[joint.child] = f"{places[joint.parent]}/{joint.child}"
            frame = self._scene.add_frame(
                places[joint.child], show_axes=False, position=joint.position, wxyz=joint.wxyz
            )
            if joint.axis is not None:
                self._joints[joint.name] = (joint, frame)
        for link, shapes in robot.shapes.items():
            for index, shape in enumerate(shapes):
                self._add(f"{places[link]}/shape_{index}", shape)
        self._plan = None

    def _add(self, name: str, shape: Any) -> None:
        look = {
            "color": shape.rgba[:3],
            "opacity": shape.rgba[3] if shape.rgba[3] < 1 else None,
            "position": shape.position,
            "wxyz": shape.wxyz,
        }
        if shape.kind == "box":
            self._scene.add_box(name, dimensions=shape.size, **look)
        elif shape.kind == "cylinder":
            radius, length = shape.size
            self._scene.add_cylinder(name, radius=radius, height=length, **look)
        else:
            self._scene.add_icosphere(name, radius=shape.size[0], **look)

    def turn(self, joints: Mapping[str, float]) -> None:
        """Show the joints at these angles, radians."""
        for name, (joint, frame) in self._joints.items():
            angle = joints.get(name)
            if angle is not None and abs(angle - self._shown.get(name, np.inf)) > 1e-4:
                self._shown[name] = angle
                frame.wxyz = joint.turned(angle)

    def plan(self, points: np.ndarray, opacity: Sequence[float]) -> None:
        """Show where the gripper will go: points (N, 3), metres, and how opaque each is."""
        if len(points) < 2:
            if self._plan is not None:
                self._plan.visible = False
            return
        segments = np.stack([points[:-1], points[1:]], axis=1).astype(np.float32)
        fade = np.asarray(opacity, float)
        # Lines have no opacity of their own: they fade into the dark of the background.
        colours = np.asarray(PLAN_COLOUR)[None] * np.stack([fade[:-1], fade[1:]], axis=1)[..., None]
        if self._plan is None:
            self._plan = self._scene.add_line_segments(
                "/plan", segments, colours.astype(np.uint8), thickness=PLAN_WIDTH_M
            )
        else:
            self._plan.points, self._plan.colors = segments, colours.astype(np.uint8)
            self._plan.visible = True
