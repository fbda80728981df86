"""The scripted teacher: reads the simulator, decides what to do now and hands out a plan."""

from __future__ import annotations

import mujoco
import numpy as np

from multismolvla.sim.libero.teacher.law import DOWN, OPEN_M, Plan, matrix, pose, rotation_of
from multismolvla.sim.libero.teacher.shapes import (
    OPEN_HALF_M,
    TIP_M,
    Boxes,
    Grasps,
    Scene,
    find_grasps,
    hand_boxes,
    hit,
    surface_points,
)
from multismolvla.sim.libero.world import LiberoWorld

# Clearance of the fingertips, of what hangs from them and of the hand over what they pass.
CLEAR_M = 0.02
_STILL_M_S = 0.012
_HOME = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
# Of the Panda: grip point to wrist along the hand, and the wrist's offset across it.
_WRIST_M, _WRIST_OFFSET_M = 0.204, 0.088
_FLIPS = np.eye(3), np.diag([-1.0, -1.0, 1.0])
_LEANS = 0.0, 0.35, -0.35
# So many of the best grasps are looked at for what they would hit.
_CHECKED = 150
# A thing that hangs further askew than this is not turned upright by the hand.
_ASKEW_RAD = 0.6
_AXES = np.concatenate([np.eye(3), -np.eye(3)])


class Teacher:
    """Solves the tasks of LIBERO from the simulator's own state.

    `plan` is a function of the world's state now. Only what depends on a model alone is kept.
    """

    def __init__(self, world: LiberoWorld) -> None:
        self._world = world
        self._model: mujoco.MjModel | None = None

    def reset(self) -> None:
        """Begin an episode."""

    def plan(self) -> Plan:
        """The current subgoal, from the world's state now."""
        self._look()
        goals = self._world.goal
        in_hand = {name for name in self._objects if self._holds(name)}
        open_goals = [goal for goal in goals if not self._fulfilled(goal)]
        # What is in the hand already goes first; what is in its place is let go of.
        for goal in goals:
            if goal[1] in in_hand:
                return self._carry(goal)
        if not open_goals:
            return self._leave()
        return self._carry(open_goals[0])

    # What there is.

    def _look(self) -> None:
        model, data = self._world.model, self._world.data
        if model is not self._model:
            self._model = model
            self._scene = Scene(model)
            env = self._world.env
            self._objects = {name: env.obj_body_id[name] for name in env.objects_dict}
            self._bodies = {
                name: self._scene.subtree(body) for name, body in env.obj_body_id.items()
            }
            self._masks = {name: self._scene.of(b) for name, b in self._bodies.items()}
            self._grasps: dict[tuple[str, int], Grasps] = {}
            self._points: dict[str, np.ndarray] = {}
            name = {model.body(i).name: i for i in range(model.nbody)}
            self._shoulder = data.body("robot0_base").xpos + np.array([0.0, 0.0, 0.333])
            self._finger_speeds = [
                model.joint(f"gripper0_finger_joint{k}").dofadr[0] for k in (1, 2)
            ]
            self._fingers = [
                {name["gripper0_leftfinger"], name["gripper0_finger_joint1_tip"]},
                {name["gripper0_rightfinger"], name["gripper0_finger_joint2_tip"]},
            ]
        self._data = data
        self._boxes = self._scene.boxes(data)
        self._position, self._rotation = self._world.gripper_pose()
        fingers = self._world.state()[6:]
        self._opening = float(fingers[0] - fingers[1])
        # A finger that still closes has not got hold of what it touches.
        self._still = bool(np.abs(data.qvel[self._finger_speeds]).max() < _STILL_M_S)
        pairs = model.geom_bodyid[data.contact.geom]
        self._touched = [
            set(pairs[np.isin(pairs, list(finger)).any(1)].ravel().tolist())
            for finger in self._fingers
        ]

    def _frame(self, body: int) -> tuple[np.ndarray, np.ndarray]:
        return self._data.xpos[body], self._data.xmat[body].reshape(3, 3)

    def _holds(self, name: str) -> bool:
        """Whether both fingers touch it, with it between them, and have come to rest."""
        bodies = set(self._bodies[name])
        return (
            self._opening < OPEN_M - 0.002
            and self._still
            and all(bodies & touched for touched in self._touched)
        )

    def _fulfilled(self, goal: tuple[str, ...]) -> bool:
        return bool(self._world.env._eval_predicate(list(goal)))

    # Pick and place.

    def _carry(self, goal: tuple[str, ...]) -> Plan:
        name = goal[1]
        body = self._objects[name]
        at, turn = self._frame(body)
        mine = self._masks[name]
        others = self._boxes[~mine]
        held = self._holds(name)
        if held:
            grip_at, grip_turn, width = self._position, self._rotation, self._opening
        else:
            grip_at, grip_turn, width = self._choose(name, at, turn, others)
        approach = grip_turn[:, 2]
        level = _upright(turn)
        place_turn = level @ grip_turn
        own = self._boxes[mine]
        rested = own.moved(-at, np.eye(3)).moved(np.zeros(3), level)
        target = self._target(goal, rested, others, at)
        shift = level @ (grip_at - at)
        place_at = self._released(target + shift, place_turn, width, others)
        hang = float(grip_at[2] - own.low()[:, 2].min()) if held else TIP_M
        end = place_at if held else grip_at
        obstacles = others if held else self._boxes
        hover = self._hover(end, obstacles, hang)
        grasp = pose(grip_at, grip_turn)
        place = pose(place_at, place_turn)
        stage = "carry" if held else "grasp"
        return Plan(stage, grasp, place, held, approach, DOWN, hover, width)

    def _choose(
        self, name: str, at: np.ndarray, turn: np.ndarray, others: Boxes
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """Grip point, rotation and width of the best grasp that nothing is in the way of."""
        grasps = self._grasps_of(name, turn)
        position = grasps.position @ turn.T + at
        rotation = turn @ grasps.rotation
        # The hand may come from either side, and lean over along the faces that it closes on.
        variants = [
            (_FLIPS[flip] @ rotation_of(np.array([lean, 0.0, 0.0])), abs(lean))
            for flip in (0, 1)
            for lean in _LEANS
        ]
        count = len(position)
        position = np.concatenate([position] * len(variants))
        rotation = np.concatenate([rotation @ variant for variant, _ in variants])
        width = np.tile(grasps.width, len(variants))
        cost = np.tile(grasps.cost, len(variants))
        cost += 0.3 * np.repeat([lean for _, lean in variants], count)
        cost += 0.3 * _angles(rotation, _HOME) + 0.2 * _angles(rotation, self._rotation)
        cost += 20.0 * np.maximum(0.0, self._stretch(position, rotation) - 0.63)
        # Beyond a right angle from home the wrist comes near its end.
        cost += 4.0 * np.maximum(0.0, _angles(rotation, _HOME) - 1.75)
        cost += 0.5 * np.linalg.norm(position - self._position, axis=1)
        # What the thing stands on is not far below it.
        ground = self._boxes[self._masks[name]].low()[:, 2].min() + 0.0015
        order = np.argsort(cost)
        order = order[_tip_heights(position, rotation)[order] > ground]
        if not len(order):
            order = np.argsort(cost)
        hand = hand_boxes()
        least, best = np.inf, order[0]
        for batch in np.split(order[:_CHECKED], range(6, min(len(order), _CHECKED), 24)):
            hits = self._hits(position[batch], rotation[batch], hand, others)
            first = int(np.argmin(hits))
            if hits[first] < least:
                least, best = hits[first], batch[first]
            if least == 0:
                break
        return position[best], rotation[best], float(width[best])

    def _stretch(self, position: np.ndarray, rotation: np.ndarray) -> np.ndarray:
        """(n,) distance from shoulder to wrist at these poses of the gripper, metres.

        At 0.70 the elbow is straight, and there the controller loses its way.
        """
        axis = rotation[:, :, 2]
        path = position - _WRIST_M * axis - self._shoulder
        across = np.hypot(path[:, 0], path[:, 1])
        across = np.maximum(across - _WRIST_OFFSET_M * np.maximum(-axis[:, 2], 0.0), 0.0)
        return np.hypot(across, path[:, 2])

    def _hits(self, position, rotation, hand: Boxes, others: Boxes) -> np.ndarray:
        """(n,) how much the open hand hits at these poses and on the way to them."""
        count = len(position)
        near = np.linalg.norm(others.centre - position.mean(0), axis=1)
        others = others[near < 0.45 + np.linalg.norm(others.half, axis=1)]
        hits = np.zeros(count, int)
        for back in (0.0, 0.05):
            where = position - back * rotation[:, :, 2]
            centre = np.einsum("nij,kj->nki", rotation, hand.centre) + where[:, None]
            boxes = Boxes(
                centre.reshape(-1, 3),
                np.repeat(rotation, len(hand), axis=0),
                np.tile(hand.half, (count, 1)),
            )
            hits += hit(boxes, others, margin=0.0015).sum(1).reshape(count, -1).sum(1)
        return hits

    def _grasps_of(self, name: str, turn: np.ndarray) -> Grasps:
        axis = int(np.argmax(_AXES @ (turn.T @ DOWN)))
        key = name, axis
        if key not in self._grasps:
            body = self._objects[name]
            self._grasps[key] = find_grasps(
                self._points_of(name), self._model.body_ipos[body], _AXES[axis]
            )
        return self._grasps[key]

    def _points_of(self, name: str) -> np.ndarray:
        if name not in self._points:
            at, turn = self._frame(self._objects[name])
            own = self._boxes[self._masks[name]]
            self._points[name] = surface_points(
                own.moved(-at, np.eye(3)).moved(np.zeros(3), turn.T)
            )
        return self._points[name]

    def _target(
        self, goal: tuple[str, ...], rested: Boxes, others: Boxes, at: np.ndarray
    ) -> np.ndarray:
        """Where the object's origin has to come to rest, (3,)."""
        where = goal[2]
        if where in self._objects:
            spot = self._data.xpos[self._objects[where]][:2]
        else:
            spot = self._data.site(where).xpos[:2]
        return np.array([*spot, self._rest_height(spot, rested, others)])

    def _rest_height(self, spot: np.ndarray, rested: Boxes, others: Boxes) -> float:
        """Height of an object's origin where it stands on what is below this place."""
        low, high = rested.low(), rested.high()
        base_low, base_high = others.low(), others.high()
        over = (
            (low[:, None, :2] + spot < base_high[None, :, :2] - 0.002)
            & (high[:, None, :2] + spot > base_low[None, :, :2] + 0.002)
        ).all(-1)
        rise = base_high[None, :, 2] - low[:, None, 2]
        return float(np.where(over, rise, -np.inf).max())

    def _released(
        self, at: np.ndarray, turn: np.ndarray, width: float, others: Boxes
    ) -> np.ndarray:
        """The lowest grip point over `at` where the hand can let go without hitting anything."""
        hand = hand_boxes(min(OPEN_HALF_M, 0.5 * width + 0.012), wrist=False)
        heights = at[2] + 0.004 + np.arange(0.0, 0.2, 0.01)
        boxes = [hand.moved(np.array([*at[:2], z]), turn) for z in heights]
        for z, box in zip(heights, boxes, strict=True):
            if not hit(box, others, margin=0.002).any():
                return np.array([*at[:2], z])
        return np.array([*at[:2], heights[0]])

    def _hover(self, end: np.ndarray, obstacles: Boxes, hang: float) -> float:
        """Height at which the grip point clears what is between here and there."""
        low, high = obstacles.low(), obstacles.high()
        start, path = self._position[:2], end[:2] - self._position[:2]
        # Nearest point of each box to a few points of the path.
        share = np.linspace(0.0, 1.0, 9)[:, None]
        along = start + share * path
        gap = np.maximum(low[None, :, :2] - along[:, None], along[:, None] - high[None, :, :2])
        gap = np.linalg.norm(np.maximum(gap, 0.0), axis=-1).min(0)
        need = np.where(gap < 0.06, high[:, 2] + hang + CLEAR_M, -np.inf)
        need = np.maximum(need, np.where(gap < 0.11, high[:, 2] - 0.031 + CLEAR_M, -np.inf))
        return float(max(need.max(initial=-np.inf), end[2] + 0.02))

    def _leave(self) -> Plan:
        """Back off from what has just been let go of, then stay."""
        here = pose(self._position, self._rotation)
        away = here.copy()
        high = self._boxes.high()
        low = self._boxes.low()
        gap = np.maximum(low - self._position, self._position - high)[:, :2]
        near = np.linalg.norm(np.maximum(gap, 0.0), axis=1) < 0.06
        above = high[near & (high[:, 2] < self._position[2] + 0.10), 2]
        wanted = above.max(initial=-np.inf) + TIP_M + 0.04
        if self._position[2] >= wanted or self._rotation[2, 2] > -0.5:
            return Plan("done", here, here, False, DOWN, DOWN, here[2], 0.0)
        away[2] = wanted + 0.02
        return Plan("leave", here, away, False, DOWN, DOWN, float(away[2]), 0.0)


def _upright(turn: np.ndarray) -> np.ndarray:
    """The rotation (3, 3) that brings the axis of a body that is nearest to vertical upright."""
    axis = turn @ _AXES[int(np.argmax(_AXES @ turn[2]))]
    return _level(axis, -DOWN) if axis[2] > np.cos(_ASKEW_RAD) else np.eye(3)


def _tip_heights(position: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """(n,) height of the lowest point of the open fingers."""
    corner = np.array([OPEN_HALF_M + 0.0155, 0.0105])
    spread = np.abs(rotation[:, 2, :2]) @ corner
    return position[:, 2] + np.minimum(TIP_M * rotation[:, 2, 2], 0.0) - spread


def _angles(rotations: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """(n,) angles between rotations (n, 3, 3) and one, radians."""
    trace = np.einsum("nij,ij->n", rotations, reference)
    return np.arccos(np.clip(0.5 * (trace - 1.0), -1.0, 1.0))


def _level(axis: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The smallest rotation (3, 3) that turns one unit vector into another."""
    normal = np.cross(axis, wanted)
    sine = float(np.linalg.norm(normal))
    if sine < 1e-9:
        return np.eye(3)
    return rotation_of(normal / sine * np.arctan2(sine, float(axis @ wanted)))


__all__ = ["Teacher", "matrix"]
