"""The scripted teacher: reads the simulator, decides what to do now and hands out a plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import mujoco
import numpy as np

from multismolvla.sim.libero.teacher.law import (
    DOWN,
    OPEN_M,
    Plan,
    pose,
    rotation_of,
)
from multismolvla.sim.libero.teacher.shapes import (
    OPEN_HALF_M,
    PALM_M,
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
# A finger that is faster than this still closes.
_STILL_M_S = 0.012
_HOME = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
# Of the Panda: grip point to wrist along the hand, and the wrist's offset across it.
_WRIST_M, _WRIST_OFFSET_M = 0.204, 0.088
# The hand may come from either side, and lean over along the faces that it closes on.
_FLIPS = np.eye(3), np.diag([-1.0, -1.0, 1.0])
_LEANS = 0.0, 0.35, -0.35
# So many of the best grasps are looked at for what they would hit.
_CHECKED = 150
# A thing that hangs further askew than this is not turned upright by the hand.
_ASKEW_RAD = 0.6
_AXES = np.concatenate([np.eye(3), -np.eye(3)])
# Things are let go of so far above where they rest.
_DROP_M = 0.004
# What is pushed is met within this distance, and pushed this much further than it needs.
_TOUCH_M, _BEYOND_M = 0.025, 0.006
# A hand that is not from above backs off until it is this far from everything.
_BACK_OFF_M = 0.03


@dataclass(frozen=True)
class Part:
    """A drawer, a door or a knob, and where its joint has to be brought to.

    Attributes:
        joint, body: ids in the model.
        now, wanted: metres or radians.
        verb: `open`, `close` or `turnon`.
    """

    joint: int
    body: int
    now: float
    wanted: float
    verb: str


class Teacher:
    """Solves the tasks of LIBERO from the simulator's own state.

    `plan` is a function of the world's state now. What is kept depends on the model alone.
    """

    def __init__(self, world: LiberoWorld) -> None:
        self._world = world
        self._model: mujoco.MjModel | None = None

    def reset(self) -> None:
        """Begin an episode."""

    def plan(self) -> Plan:
        """The current subgoal, from the world's state now."""
        self._look()
        steps = self._open_steps()
        held = [goal for goal in self._world.goal if self._holds_goal(goal)]
        if held:
            # What is in the hand already goes first.
            plan = self._step(held[0])
            steps = [step for step in steps if step != held[0]]
        elif not steps:
            return self._leave()
        else:
            plan = self._step(steps.pop(0))
            if (away := self._backed_off(plan)) is not None:
                return replace(away, then=plan)
        if plan.held and steps and np.linalg.norm(self._position - plan.place[:3]) < 0.06:
            return replace(plan, then=self._step(steps[0]))
        return plan

    # What there is.

    def _look(self) -> None:
        model, data = self._world.model, self._world.data
        if model is not self._model:
            self._learn(model, data)
        self._data = data
        self._boxes = self._scene.boxes(data)
        self._position, self._rotation = self._world.gripper_pose()
        fingers = self._world.state()[6:]
        self._opening = float(fingers[0] - fingers[1])
        self._still = bool(np.abs(data.qvel[self._finger_speeds]).max() < _STILL_M_S)
        pairs = model.geom_bodyid[data.contact.geom]
        both = set.union(*self._fingers)
        self._touched = [
            set(pairs[np.isin(pairs, list(finger)).any(1)].ravel().tolist()) - both
            for finger in self._fingers
        ]

    def _learn(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        """What depends on the model alone."""
        self._model = model
        self._scene = Scene(model)
        env = self._world.env
        self._objects = {name: env.obj_body_id[name] for name in env.objects_dict}
        self._bodies = {name: self._scene.subtree(body) for name, body in env.obj_body_id.items()}
        self._masks = {name: self._scene.of(bodies) for name, bodies in self._bodies.items()}
        self._grasps: dict[tuple, Grasps] = {}
        self._points: dict[int, np.ndarray] = {}
        self._shoulder = data.body("robot0_base").xpos + np.array([0.0, 0.0, 0.333])
        joints = [model.joint(f"gripper0_finger_joint{k}") for k in (1, 2)]
        self._finger_speeds = [joint.dofadr[0] for joint in joints]
        self._fingers = [
            {model.body(f"gripper0_{side}finger").id, model.body(f"gripper0_finger_{tip}_tip").id}
            for side, tip in (("left", "joint1"), ("right", "joint2"))
        ]

    def _frame(self, body: int) -> tuple[np.ndarray, np.ndarray]:
        return self._data.xpos[body], self._data.xmat[body].reshape(3, 3)

    def _holds(self, bodies: Sequence[int]) -> bool:
        """Whether both fingers touch one of the bodies and have come to rest on it."""
        return (
            self._opening < OPEN_M - 0.002
            and self._still
            and all(touched & set(bodies) for touched in self._touched)
        )

    def _holds_goal(self, goal: tuple[str, ...]) -> bool:
        return goal[1] in self._objects and len(goal) == 3 and self._holds(self._bodies[goal[1]])

    def _fulfilled(self, goal: tuple[str, ...]) -> bool:
        return bool(self._world.env._eval_predicate(list(goal)))

    # What to do, in which order.

    def _open_steps(self) -> list[tuple[str, ...]]:
        """Goals that do not hold yet, and what has to be opened for them, in order."""
        order = {"turnon": 0, "open": 1, "in": 2, "on": 2, "close": 3}
        missing = [goal for goal in self._world.goal if not self._fulfilled(goal)]
        missing.sort(key=lambda goal: order[goal[0]])
        steps: list[tuple[str, ...]] = []
        for goal in missing:
            if goal[0] in ("in", "on") and self._joints_of(goal[2]) and goal[2] in self._sites:
                door = ("open", goal[2])
                if not self._fulfilled(door):
                    steps.append(door)
            steps.append(goal)
        return steps

    def _step(self, goal: tuple[str, ...]) -> Plan:
        if goal[0] in ("in", "on"):
            if not self._grasps_of(goal[1], self._frame(self._objects[goal[1]])[1], DOWN).cost.size:
                return self._drag(goal)
            return self._carry(goal)
        part = self._part(goal)
        return self._push(part) if part.verb == "close" else self._pull(part)

    @property
    def _sites(self) -> dict:
        return self._world.env.object_sites_dict

    def _joints_of(self, name: str) -> list[str]:
        """Joints of a drawer's region or of a fixture."""
        env = self._world.env
        thing = self._sites[name] if name in self._sites else env.get_object(name)
        joints = getattr(thing, "joints", None) or []
        return [joint for joint in joints if self._model.joint(joint).type[0] != 0]

    def _part(self, goal: tuple[str, ...]) -> Part:
        verb, name = goal[0], goal[1]
        joint = self._model.joint(self._joints_of(name)[0])
        env = self._world.env
        owner = env.get_object(self._sites[name].parent_name if name in self._sites else name)
        limits = owner.object_properties["articulation"][f"default_{verb}_ranges"]
        now = float(self._data.qpos[joint.qposadr[0]])
        # A drawer is pulled out as far as it goes, a knob turned a little more than it needs.
        farthest = max(limits, key=abs)
        wanted = {"open": farthest, "close": max(limits), "turnon": min(limits) + 0.25}[verb]
        return Part(joint.id, int(joint.bodyid[0]), now, wanted, verb)

    def _moved(self, part: Part, points: np.ndarray, further: float = 0.0) -> np.ndarray:
        """Where points (n, 3) of a part come to when its joint is where it has to be."""
        axis, anchor = self._data.xaxis[part.joint], self._data.xanchor[part.joint]
        way = part.wanted - part.now
        way += np.sign(way) * further
        if self._model.jnt_type[part.joint] == mujoco.mjtJoint.mjJNT_SLIDE:
            return points + way * axis
        return anchor + (points - anchor) @ rotation_of(way * axis).T

    # Pick and place.

    def _carry(self, goal: tuple[str, ...]) -> Plan:
        name = goal[1]
        body = self._objects[name]
        at, turn = self._frame(body)
        mine = self._masks[name]
        others, own = self._boxes[~mine], self._boxes[mine]
        held = self._holds(self._bodies[name])
        descent = self._way_in(goal)
        if held:
            grip_at, grip_turn, width = self._position, self._rotation, self._opening
        else:
            grasps = self._grasps_of(name, turn, descent)
            ground = own.low()[:, 2].min() + 0.0015
            leans = _LEANS if descent[2] < -0.9 else (0.0,)
            grip_at, grip_turn, width = self._choose(grasps, at, turn, others, ground, leans)
        level = _upright(turn)
        rested = own.moved(-at, np.eye(3)).moved(np.zeros(3), level)
        target, spin = self._spot(goal, rested, others, level @ grip_turn, descent)
        level = spin @ level
        place_turn = level @ grip_turn
        place_at = target + level @ (grip_at - at)
        if descent[2] < -0.9:
            place_at = self._released(place_at, place_turn, width, others)
        else:
            place_at = place_at + np.array([0.0, 0.0, 2 * _DROP_M])
        hang = float(grip_at[2] - own.low()[:, 2].min()) if held else TIP_M
        reach = 0.04
        if held:
            corners = np.maximum(
                np.abs(own.low()[:, :2] - grip_at[:2]), np.abs(own.high()[:, :2] - grip_at[:2])
            )
            reach = float(np.linalg.norm(corners, axis=1).max())
        end, approach = (place_at, descent) if held else (grip_at, grip_turn[:, 2])
        # A way in that is not from above begins outside.
        run = 0.10 if descent[2] < -0.9 or not held else 0.20
        entry = end if approach[2] < -0.5 else end - run * approach
        hover = self._hover(entry, others if held else self._boxes, hang, reach)
        return Plan(
            stage="carry" if held else "grasp",
            grasp=pose(grip_at, grip_turn),
            place=pose(place_at, place_turn),
            held=held,
            approach=grip_turn[:, 2],
            descent=descent,
            hover_m=hover,
            width_m=width,
            run_m=run,
        )

    def _choose(
        self,
        grasps: Grasps,
        at: np.ndarray,
        turn: np.ndarray,
        others: Boxes,
        ground: float,
        leans: Sequence[float],
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """Grip point, rotation and width of the best grasp that nothing is in the way of."""
        variants = [
            (flip @ rotation_of(np.array([lean, 0.0, 0.0])), abs(lean))
            for flip in _FLIPS
            for lean in leans
        ]
        position = grasps.position @ turn.T + at
        rotation = turn @ grasps.rotation
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
        order = np.argsort(cost)
        above = _tip_heights(position, rotation)[order] > ground
        # What the thing stands on is not far below it.
        order = order[above] if above.any() else order
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

    def _hits(
        self, position: np.ndarray, rotation: np.ndarray, hand: Boxes, others: Boxes
    ) -> np.ndarray:
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

    def _grasps_of(self, name: str, turn: np.ndarray, approach: np.ndarray) -> Grasps:
        axis = int(np.argmax(_AXES @ (turn.T @ approach)))
        key = name, axis
        if key not in self._grasps:
            body = self._objects[name]
            points = self._points_of(body, self._masks[name])
            self._grasps[key] = find_grasps(points, self._model.body_ipos[body], _AXES[axis])
        return self._grasps[key]

    def _points_of(self, body: int, mask: np.ndarray) -> np.ndarray:
        """(n, 3) of the surface, in the body's frame."""
        if body not in self._points:
            at, turn = self._frame(body)
            own = self._boxes[mask].moved(-at, np.eye(3)).moved(np.zeros(3), turn.T)
            self._points[body] = surface_points(own)
        return self._points[body]

    # Places.

    def _way_in(self, goal: tuple[str, ...]) -> np.ndarray:
        """(3,) unit: down, or along the floor where the place has a roof but no front."""
        where = goal[2]
        if goal[0] != "in" or where not in self._sites:
            return DOWN
        site, region = self._data.site(where), self._sites[where]
        half = np.abs(site.xmat.reshape(3, 3) @ region.size)
        around = self._boxes[self._masks[region.parent_name]]
        low, high = around.low(), around.high()
        over = (low[:, :2] < site.xpos[:2] + 0.2 * half[:2]).all(1)
        over &= (high[:, :2] > site.xpos[:2] - 0.2 * half[:2]).all(1)
        if not (over & (low[:, 2] > site.xpos[2])).any() or self._is_drawer(where):
            return DOWN
        best, way = np.inf, DOWN
        for direction in (np.eye(3)[0], -np.eye(3)[0], np.eye(3)[1], -np.eye(3)[1]):
            probe = Boxes(
                (site.xpos - 0.14 * direction)[None],
                np.eye(3)[None],
                (np.full(3, 0.03) + 0.10 * np.abs(direction))[None],
            )
            walls = int(hit(probe, around).sum())
            if walls < best:
                best, way = walls, direction
        return way

    def _is_drawer(self, where: str) -> bool:
        """Whether the place is a drawer: it comes out from under its roof."""
        joints = self._joints_of(where)
        slide = mujoco.mjtJoint.mjJNT_SLIDE
        return any(self._model.joint(joint).type[0] == slide for joint in joints)

    def _spot(
        self,
        goal: tuple[str, ...],
        rested: Boxes,
        others: Boxes,
        hand: np.ndarray,
        descent: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Where the object's origin comes to rest (3,), and a turn (3, 3) about the vertical.

        Args:
            rested: the object's boxes, upright, about its origin.
            hand: rotation of the gripper that holds it so.
        """
        where = goal[2]
        if where in self._objects:
            spot = self._data.xpos[self._objects[where]]
            height = self._rest_height(spot[:2], rested, others, np.inf)
            return np.array([*spot[:2], height]), np.eye(3)
        site = self._data.site(where)
        turn = site.xmat.reshape(3, 3)
        size = np.asarray(self._sites[where].size, float)
        half = np.abs(turn @ size)
        middle = site.xpos.copy()
        if goal[0] == "on":
            # A slanted region is a layer above its plate.
            middle = middle + 0.03 * turn[:, 2]
        spin = self._fitting_turn(rested, half, hand) if goal[0] == "in" else np.eye(3)
        rested = rested.moved(np.zeros(3), spin)
        ceiling = middle[2] + (half[2] if goal[0] == "in" else 0.10)
        alike = sum(other[1:][-1] == where for other in self._world.goal if len(other) == 3)
        shares = [(0.0, 0.0)]
        if alike > 1:
            shares = [(0.6, 0.0), (-0.6, 0.0), (0.0, 0.6), (0.0, -0.6)]
        best, chosen = np.inf, middle
        for share in shares:
            spot = middle[:2] + np.array(share) * half[:2]
            height = self._rest_height(spot, rested, others, ceiling)
            at = np.array([*spot, height])
            cost = height + 0.02 * float(np.linalg.norm(spot - self._position[:2]))
            if cost < best:
                best, chosen = cost, at
        if goal[0] == "in":
            # In a narrow place the middle of the thing goes to its middle, not the origin.
            low, high = rested.low().min(0)[:2], rested.high().max(0)[:2]
            narrow = half[:2] - 0.5 * (high - low) < 0.03
            chosen[:2] -= np.where(narrow, 0.5 * (low + high), 0.0)
        return chosen, spin

    def _fitting_turn(self, rested: Boxes, half: np.ndarray, hand: np.ndarray) -> np.ndarray:
        """The smallest turn about the vertical with which the boxes fit into a region."""
        best, chosen = np.inf, np.eye(3)
        longest = rested.rotation[int(np.argmax(rested.half.max(1)))]
        lying = longest[:, np.argsort(np.abs(longest[2]))[:2]]
        angle = float(np.arctan2(lying[1, 0], lying[0, 0]))
        for turn in (0.0, *(np.arange(4) * np.pi / 2 - angle)):
            turn = (turn + np.pi) % (2 * np.pi) - np.pi
            spin = rotation_of(np.array([0.0, 0.0, turn]))
            turned = rested.moved(np.zeros(3), spin)
            extent = 0.5 * (turned.high().max(0) - turned.low().min(0))
            excess = float(np.maximum(extent[:2] - half[:2] + 0.004, 0.0).sum())
            strain = float(_angles((spin @ hand)[None], _HOME)[0])
            cost = 100.0 * excess + abs(turn) + 10.0 * max(0.0, strain - 1.9)
            if cost < best - 1e-6:
                best, chosen = cost, spin
        return chosen

    def _rest_height(self, spot: np.ndarray, rested: Boxes, others: Boxes, ceiling: float) -> float:
        """Height of an object's origin where it stands on what is below this place."""
        low, high = rested.low(), rested.high()
        base_low, base_high = others.low(), others.high()
        over = (
            (low[:, None, :2] + spot < base_high[None, :, :2] - 0.002)
            & (high[:, None, :2] + spot > base_low[None, :, :2] + 0.002)
        ).all(-1)
        over &= base_high[None, :, 2] < ceiling
        rise = np.where(over, base_high[None, :, 2] - low[:, None, 2], -np.inf)
        height = float(rise.max(initial=-np.inf))
        if not np.isfinite(height):
            return float(ceiling)
        support = int(np.argmax(rise.max(0)))
        if np.abs(others.rotation[support]).max(0).min() > 0.98:
            return height
        # The box around a slanted one is higher than it: down until they touch.
        near = others[
            (base_low[:, :2] < spot + 0.3).all(1) & (base_high[:, :2] > spot - 0.3).all(1)
        ]
        for lower in np.arange(height, height - 0.12, -0.006):
            if hit(rested.moved(np.array([*spot, lower]), np.eye(3)), near).any():
                return float(lower + 0.006)
            height = float(lower)
        return height

    def _released(
        self, at: np.ndarray, turn: np.ndarray, width: float, others: Boxes
    ) -> np.ndarray:
        """The lowest grip point over `at` where the hand can let go without hitting anything."""
        hand = hand_boxes(min(OPEN_HALF_M, 0.5 * width + 0.012), wrist=False)
        heights = at[2] + _DROP_M + np.arange(0.0, 0.2, 0.01)
        for height in heights:
            box = hand.moved(np.array([*at[:2], height]), turn)
            if not hit(box, others, margin=0.002).any():
                return np.array([*at[:2], height])
        return np.array([*at[:2], heights[0]])

    def _hover(self, end: np.ndarray, obstacles: Boxes, hang: float, reach: float) -> float:
        """Height at which the grip point clears what is between here and there.

        Args:
            hang: how far what is moved reaches below the grip point.
            reach: how far it reaches to the side.
        """
        low, high = obstacles.low(), obstacles.high()
        start, path = self._position[:2], end[:2] - self._position[:2]
        # Nearest point of each box to a few points of the path.
        share = np.linspace(0.0, 1.0, 9)[:, None]
        along = start + share * path
        gap = np.maximum(low[None, :, :2] - along[:, None], along[:, None] - high[None, :, :2])
        gaps = np.linalg.norm(np.maximum(gap, 0.0), axis=-1)
        gap = gaps.min(0)
        # What the path only leads away from, or along, is not in the way.
        ahead = (gap < gaps[0] - 0.005) | (gaps[0] < 0.005)
        low_parts, hand = ahead & (gap < reach + 0.02), ahead & (gap < 0.11)
        need = np.where(low_parts, high[:, 2] + hang + CLEAR_M, -np.inf)
        need = np.maximum(need, np.where(hand, high[:, 2] - PALM_M + CLEAR_M, -np.inf))
        return float(max(need.max(initial=-np.inf), end[2] + 0.02))

    # Handles, knobs, and what is pushed.

    def _pull(self, part: Part) -> Plan:
        """Take hold of a handle or knob and bring it where it has to be."""
        mask = self._scene.of([part.body])
        at, turn = self._frame(part.body)
        held = self._holds([part.body])
        axis = self._data.xaxis[part.joint]
        slides = self._model.jnt_type[part.joint] == mujoco.mjtJoint.mjJNT_SLIDE
        approach = -axis * np.sign(part.wanted - part.now) if slides else DOWN
        if held:
            grip_at, grip_turn, width = self._position, self._rotation, self._opening
        else:
            grasps = self._handles_of(part, mask, turn.T @ approach, slides)
            others = self._boxes[~mask]
            leans = (0.0,) if slides else _LEANS
            grip_at, grip_turn, width = self._choose(grasps, at, turn, others, -np.inf, leans)
        place_at = self._moved(part, grip_at[None], further=0.002)[0]
        place_turn = grip_turn
        if not slides:
            place_turn = rotation_of((part.wanted - part.now) * axis) @ grip_turn
        pivot = None if slides else np.concatenate([self._data.xanchor[part.joint], axis])
        run = 0.10
        entry = grip_at if approach[2] < -0.5 else grip_at - run * approach
        hover = self._hover(entry, self._boxes, TIP_M, 0.05)
        return Plan(
            stage="move" if held else "grasp",
            grasp=pose(grip_at, grip_turn),
            place=pose(place_at, place_turn),
            held=held,
            approach=grip_turn[:, 2],
            descent=grip_turn[:, 2],
            hover_m=hover,
            width_m=width,
            moves=True,
            run_m=run,
            pivot=pivot,
        )

    def _handles_of(
        self, part: Part, mask: np.ndarray, approach: np.ndarray, slides: bool
    ) -> Grasps:
        """Grasps of what sticks out of a part against the approach, in the body's frame."""
        key = part.joint, slides
        if key not in self._grasps:
            points = self._points_of(part.body, mask)
            out = -points @ approach
            tip = points[out > out.max() - 0.012]
            centre = tip.mean(0)
            if not slides:
                # A knob is turned at its far end.
                axis = self._model.jnt_axis[part.joint]
                arm = tip - self._model.jnt_pos[part.joint]
                arm -= np.outer(arm @ axis, axis)
                far = np.linalg.norm(arm, axis=1)
                centre = tip[far > far.max() - 0.012].mean(0)
            found = find_grasps(points, centre, approach)
            self._grasps[key] = found
        return self._grasps[key]

    def _push(self, part: Part) -> Plan:
        """Push a drawer or door shut with closed fingers."""
        boxes = self._boxes[self._scene.of([part.body])]
        axis, anchor = self._data.xaxis[part.joint], self._data.xanchor[part.joint]
        sign = np.sign(part.wanted - part.now)
        if self._model.jnt_type[part.joint] == mujoco.mjtJoint.mjJNT_SLIDE:
            way = axis * sign
            reach = np.einsum("nij,i->nj", boxes.rotation, way)
            front = boxes.centre @ way - (np.abs(reach) * boxes.half).sum(1)
            handle = int(np.argmin(front))
            # The hand leans back by half a right angle: its tips are ahead of its palm.
            z = (way + DOWN) / np.sqrt(2.0)
            x = np.cross(way, DOWN)
            turn = np.stack([x, np.cross(z, x), z], 1)
            if np.trace(turn.T @ self._rotation) < np.trace((turn @ _FLIPS[1]).T @ self._rotation):
                turn = turn @ _FLIPS[1]
            lead = (TIP_M + 0.0105) / np.sqrt(2.0)
            contact = boxes.centre[handle].copy()
            contact += way * (front[handle] - contact @ way - lead)
            pivot, approach = None, z
        else:
            panel = int(np.argmax(boxes.half.prod(1)))
            thin = int(np.argmin(boxes.half[panel]))
            normal = boxes.rotation[panel][:, thin]
            arm = boxes.centre[panel] - anchor
            arm -= arm @ axis * axis
            way = np.cross(axis * sign, arm)
            way /= np.linalg.norm(way)
            normal = normal * np.sign(normal @ way)
            contact = anchor + 1.6 * arm - normal * (boxes.half[panel][thin] + 0.016)
            contact[2] = boxes.high()[panel, 2] - 0.015
            turn, approach = _HOME, DOWN
            pivot = np.concatenate([anchor, axis])
        gap = self._position - contact
        held = bool(np.linalg.norm(gap) < _TOUCH_M and self._opening < 0.03)
        place_at = self._moved(part, contact[None], further=_BEYOND_M)[0]
        if pivot is not None:
            place_at[2] = contact[2]
        run = 0.06
        entry = contact if approach[2] < -0.8 else contact - run * approach
        return Plan(
            stage="move" if held else "grasp",
            grasp=pose(contact, turn),
            place=pose(place_at, turn),
            held=held,
            approach=approach,
            descent=approach,
            hover_m=self._hover(entry, self._boxes, TIP_M, 0.03),
            width_m=0.0,
            moves=True,
            push=True,
            run_m=run,
            pivot=pivot,
        )

    def _drag(self, goal: tuple[str, ...]) -> Plan:
        """Slide a plate, which is too flat to hold, with closed fingers pressed inside its rim."""
        body = self._objects[goal[1]]
        at, _ = self._frame(body)
        own = self._boxes[self._masks[goal[1]]]
        middle = int(np.argmin(np.linalg.norm(own.centre[:, :2] - at[:2], axis=1)))
        floor = float(own.high()[middle, 2])
        contact = np.array([*at[:2], floor + TIP_M + 0.002])
        target = self._data.site(goal[2]).xpos
        aside = float(np.linalg.norm(self._position[:2] - at[:2]))
        low = abs(self._position[2] - contact[2]) < 0.012
        held = aside < 0.03 and low and self._opening < 0.03
        place_at = np.array([*(target[:2] + contact[:2] - at[:2]), contact[2]])
        if held:
            place_at[:2] = self._position[:2] + target[:2] - at[:2]
        hand = self._rotation if self._rotation[2, 2] < -0.95 else _HOME
        return Plan(
            stage="move" if held else "grasp",
            grasp=pose(self._position if held else contact, hand),
            place=pose(place_at, hand),
            held=held,
            approach=DOWN,
            descent=DOWN,
            hover_m=self._hover(contact, self._boxes, TIP_M, 0.03),
            width_m=0.0,
            moves=True,
            push=True,
        )

    # Backing off.

    def _backed_off(self, plan: Plan | None = None) -> Plan | None:
        """Straight back where a hand that is not from above still is near something else."""
        axis = self._rotation[:, 2]
        if axis[2] < -0.8:
            return None
        if plan is not None:
            near = np.linalg.norm(self._position - plan.grasp[:3]) < plan.run_m + 0.06
            if near and plan.approach @ axis > 0.95:
                # It is on its way to there.
                return None
        if not self._crowded(self._position):
            return None
        back = next(
            (b for b in np.arange(0.02, 0.3, 0.02) if not self._crowded(self._position - b * axis)),
            0.3,
        )
        away = pose(self._position - (back + 0.03) * axis, self._rotation)
        here = pose(self._position, self._rotation)
        return Plan("leave", here, away, False, axis, axis, float(away[2]), self._grip_width())

    def _grip_width(self) -> float:
        """Opening at which the fingers are no longer on what they hold."""
        return self._opening if all(self._touched) else 0.0

    def _crowded(self, position: np.ndarray) -> bool:
        """Whether the hand at a place is close to anything that is not below it."""
        hand = hand_boxes(wrist=False).moved(position, self._rotation)
        boxes = self._boxes[self._boxes.high()[:, 2] > position[2] - 0.02]
        return bool(hit(hand, boxes, margin=_BACK_OFF_M).any())

    def _leave(self) -> Plan:
        """Back off from what has just been let go of, then stay."""
        here = pose(self._position, self._rotation)
        axis = self._rotation[:, 2]
        done = Plan("done", here, here, False, axis, axis, float(here[2]), 0.0)
        if axis[2] > -0.8:
            return self._backed_off() or done
        high, low = self._boxes.high(), self._boxes.low()
        gap = np.maximum(low - self._position, self._position - high)[:, :2]
        near = np.linalg.norm(np.maximum(gap, 0.0), axis=1) < 0.06
        above = high[near & (high[:, 2] < self._position[2] + 0.10), 2]
        wanted = above.max(initial=-np.inf) + TIP_M + 0.04
        if self._position[2] >= wanted:
            return done
        away = here.copy()
        away[2] = wanted + 0.02
        return Plan("leave", here, away, False, DOWN, DOWN, float(away[2]), self._grip_width())


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
