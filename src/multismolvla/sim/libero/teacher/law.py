"""The teacher's law: from a plan and the gripper to the next action, and its roll into a chunk.

Nothing here knows the simulator. `act` is a pure function; which part of a subgoal the gripper is
in follows from where it stands to the plan's poses and from how far its fingers are open. Parts
meet in funnels (the nearer to the approach's axis, the deeper the gripper may be) instead of at
switches, and tests that could flip have two thresholds, chosen by the fingers' own opening.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import mujoco
import numpy as np

# Actions of 1 ask the controller for a goal this far from the gripper.
STEP_M, STEP_RAD = 0.05, 0.5
PERIOD_S = 0.05
# The controller is a critically damped spring of stiffness 150 per unit of mass.
STIFFNESS = 150.0
DOWN = np.array([0.0, 0.0, -1.0])

# Of the goal's distance: with it the sampled loop overshoots by less than a millimetre.
GAIN, TURN_GAIN = 1.6, 1.2
# Sides of the funnel: within the throat the gripper may be all the way down.
THROAT_M, SLOPE = 0.008, 4.0
# A radian of wrong orientation, and a metre of opening that is missing, count as this much offset.
TURN_WEIGHT_M, SHUT_WEIGHT = 0.06, 0.8
# Within this offset of the axis the path is the approach, outside of it the way over obstacles.
NECK_M = 0.025
# The fingers close (and open) within these; once they move, within the wider ones.
CLOSE_M, CLOSE_RAD, WIDER = 0.008, 0.12, 2.5
RELEASE_M, RELEASE_RAD = 0.012, 0.2
# Opening of both fingers together, metres.
OPEN_M = 0.077
# What turns on a hinge is led by this angle.
LEAD_RAD = 0.35
# How far beyond the width of what was held the fingers are no longer on it.
LET_GO_M = 0.012


@dataclass(frozen=True)
class Plan:
    """One subgoal from the state of the world now.

    Poses are of the gripper, (7,) x, y, z, qw, qx, qy, qz in the world's frame, metres.

    Attributes:
        stage: `grasp` (bring the fingers around the thing or, closed, against it), `carry` (bring
            it to its place and let it go), `move` (guide a handle, a knob or what is pushed to its
            place), `leave` (let go and back off to `place`), `done`.
        grasp: where the fingers close; it moves along with what they hold.
        place: where they open, or where a handle has to be brought to.
        held: the object or handle is between the closed fingers, or what is pushed touches them.
        approach: (3,) unit, the direction of the last centimetres to the grasp.
        descent: (3,) unit, of the last centimetres to the place.
        hover_m: height at which the grip point passes over what lies between it and its target.
        width_m: opening of both fingers together around what they hold.
        moves: what comes after the grasp is `move`, not `carry`.
        push: the fingers are closed on the way to the grasp already.
        run_m: length of a last straight part that is not from above.
        pivot: (6,) a point of the hinge and its unit axis, where the thing turns; else None.
        then: the subgoal after this one, where the end of this one is near; else None.
    """

    stage: str
    grasp: np.ndarray
    place: np.ndarray
    held: bool
    approach: np.ndarray
    descent: np.ndarray
    hover_m: float
    width_m: float
    moves: bool = False
    push: bool = False
    run_m: float = 0.10
    pivot: np.ndarray | None = None
    then: Plan | None = None


def act(plan: Plan, position: np.ndarray, rotation: np.ndarray, fingers: np.ndarray) -> np.ndarray:
    """The action (7,) of the law for one control step.

    Args:
        position: (3,) grip point, metres, world.
        rotation: (3, 3) of the hand; z points out of it, the fingers close along x.
        fingers: (2,) joint positions of the fingers, metres.
    """
    opening = float(fingers[0] - fingers[1])
    if plan.stage == "done":
        return _action(np.zeros(3), np.zeros(3), closed=False)
    if plan.stage == "leave":
        # The fingers first, or they would take along what they have just put down.
        free = np.clip((opening - plan.width_m - 0.4 * LET_GO_M) / LET_GO_M, 0.0, 1.0)
        turn = turn_between(rotation, matrix(plan.place))
        return _action(free * (plan.place[:3] - position), free * turn, closed=False)
    if plan.held and plan.moves:
        return _guided(plan, position, rotation)
    if plan.held:
        return _carried(plan, position, rotation, opening)
    return _grasped(plan, position, rotation, opening)


def _grasped(plan: Plan, position: np.ndarray, rotation: np.ndarray, opening: float) -> np.ndarray:
    """To the grasp, and the fingers closed there."""
    turn, angle = _turn(rotation, plan.grasp)
    offset, back, aside = _offset(position, plan.grasp, plan.approach)
    if plan.push:
        there, closed = False, True
        missing = max(0.0, opening - 0.02)
    else:
        wide = WIDER if opening < OPEN_M - 0.006 else 1.0
        there = aside < wide * CLOSE_M and abs(back) < wide * CLOSE_M and angle < wide * CLOSE_RAD
        # Closed beyond what should be between the fingers: they have missed it.
        there = closed = there and opening > plan.width_m - 0.008
        missing = max(0.0, OPEN_M - 0.012 - opening)
    if there:
        return _action(-offset, turn, closed)
    slack = TURN_WEIGHT_M * angle + SHUT_WEIGHT * missing
    path = _way(position, plan.grasp[:3], plan.approach, plan.hover_m, plan.run_m, slack)
    return _action(path, turn, closed)


def _carried(plan: Plan, position: np.ndarray, rotation: np.ndarray, opening: float) -> np.ndarray:
    """To the place, and the fingers opened there."""
    turn, angle = _turn(rotation, plan.place)
    offset, back, aside = _offset(position, plan.place, plan.descent)
    wide = WIDER if opening > plan.width_m + 0.4 * LET_GO_M else 1.0
    there = aside < wide * RELEASE_M and abs(back) < wide * RELEASE_M and angle < wide * RELEASE_RAD
    if there:
        return _action(-offset, turn, closed=False)
    slack = TURN_WEIGHT_M * angle
    path = _way(position, plan.place[:3], plan.descent, plan.hover_m, plan.run_m, slack)
    return _action(path, turn, closed=True)


def _turn(rotation: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, float]:
    """The turn (3,) to the orientation of a pose (7,), and its angle, radians."""
    turn = turn_between(rotation, matrix(target))
    return turn, float(np.linalg.norm(turn))


def _offset(
    position: np.ndarray, target: np.ndarray, axis: np.ndarray
) -> tuple[np.ndarray, float, float]:
    """From a pose (7,) to a position (3,): how far it is back along an axis, and aside of it."""
    offset = position - target[:3]
    back = -float(offset @ axis)
    return offset, back, float(np.linalg.norm(offset + back * axis))


def _guided(plan: Plan, position: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """A handle along its rail, or around its hinge, to the place."""
    goal, end = plan.place[:3], matrix(plan.place)
    if plan.pivot is None:
        return _action(goal - position, turn_between(rotation, end), closed=True)
    anchor, axis = plan.pivot[:3], plan.pivot[3:]
    here, there = position - anchor, goal - anchor
    flat_here, flat_there = here - here @ axis * axis, there - there @ axis * axis
    left = math.atan2(float(np.cross(flat_here, flat_there) @ axis), float(flat_here @ flat_there))
    ahead = float(np.clip(left, -LEAD_RAD, LEAD_RAD))
    ahead_at = rotation_of(axis * ahead) @ flat_here
    ahead_at *= np.linalg.norm(flat_there) / max(float(np.linalg.norm(ahead_at)), 1e-6)
    path = ahead_at + there @ axis * axis - here
    if not plan.push:
        # The hand turns as far as the thing has turned, and pulls a little.
        end = rotation_of(axis * (float(np.clip(left, -0.2, 0.2)) - left)) @ end
    return _action(path, turn_between(rotation, end), closed=True)


def _way(
    position: np.ndarray,
    goal: np.ndarray,
    axis: np.ndarray,
    hover: float,
    run: float,
    slack: float,
) -> np.ndarray:
    """The path (3,) from a position towards a goal that is approached along an axis."""
    offset = position - goal
    back = -float(offset @ axis)
    lateral = offset + back * axis
    aside = float(np.linalg.norm(lateral))
    if axis[2] > -0.5:
        if aside > NECK_M or back > run + NECK_M:
            # First from above to where the straight part begins.
            return _way(position, goal - run * axis, DOWN, hover, run, slack)
        wanted = float(np.clip(SLOPE * (aside + slack - THROAT_M), 0.0, run))
        return (back - wanted) * axis - lateral
    depth = max(hover - goal[2], 0.02) / -axis[2]
    wanted = float(np.clip(SLOPE * (aside + slack - THROAT_M), 0.0, depth))
    # Up first, then over what is in between.
    missing = hover - 0.02 - position[2]
    freedom = 1.0 if aside < NECK_M else float(np.clip(1.0 - missing / 0.03, 0.0, 1.0))
    return (back - wanted) * axis - freedom * lateral


def imagine(
    plan: Plan,
    position: np.ndarray,
    rotation: np.ndarray,
    velocity: np.ndarray,
    fingers: np.ndarray,
    steps: int,
) -> np.ndarray:
    """The actions (steps, 7) of the law from here on, without physics; the first is for now.

    The gripper follows as the controller would make it without friction, the fingers at the speed
    that they were seen to have, and what is grasped goes along.

    Args:
        velocity: (6,) of the grip point, m/s, and of the hand's turning, rad/s, world.
    """
    return roll(plan, position, rotation, velocity, fingers, steps)[0]


def roll(
    plan: Plan,
    position: np.ndarray,
    rotation: np.ndarray,
    velocity: np.ndarray,
    fingers: np.ndarray,
    steps: int,
) -> tuple[np.ndarray, np.ndarray]:
    """`imagine` with the grip points (steps, 3), metres, before each of the actions."""
    gripper = _Gripper(position, rotation, velocity, fingers)
    actions, path = np.empty((steps, 7)), np.empty((steps, 3))
    for k in range(steps):
        path[k] = gripper.position
        actions[k] = act(plan, gripper.position, gripper.rotation, gripper.fingers)
        gripper.step(actions[k], plan)
        plan = _advance(plan, gripper)
    return actions, path


class _Gripper:
    """Kinematics of hand and fingers under the controller."""

    # A step at full command, and steps until the fingers' command has turned around.
    SPEED_M = 0.0095
    LAG = 2

    def __init__(self, position, rotation, velocity, fingers):
        self.position, self.rotation = np.array(position, float), np.array(rotation, float)
        self.speed, self.spin = np.array(velocity[:3], float), np.array(velocity[3:], float)
        self.opening = float(fingers[0] - fingers[1])
        self._middle = 0.5 * float(fingers[0] + fingers[1])
        self._command, self._since = 0.0, 0
        self.gripped = 0

    @property
    def fingers(self) -> np.ndarray:
        half = 0.5 * self.opening
        return np.array([self._middle + half, self._middle - half])

    def step(self, action: np.ndarray, plan: Plan) -> None:
        moved, self.speed = _spring(STEP_M * action[:3], self.speed)
        turned, self.spin = _spring(STEP_RAD * action[3:6], self.spin)
        self.position += moved
        self.rotation = rotation_of(turned) @ self.rotation
        command = math.copysign(1.0, action[6])
        around = plan.held or _around(plan, self)
        if command == self._command:
            self._since += 1
        else:
            # Fingers half open that hold nothing are taken for moving as they are commanded.
            resting = around or not 0.003 < self.opening < OPEN_M - 0.003
            self._since = 1 if self._command or resting else self.LAG + 1
            self._command = command
        if self._since <= self.LAG:
            return
        floor = plan.width_m if around else 0.0
        if command > 0:
            self.opening = max(min(self.opening, floor), self.opening - self.SPEED_M)
        else:
            self.opening = min(max(self.opening, OPEN_M), self.opening + self.SPEED_M)
        self.gripped = self.gripped + 1 if around and self.opening <= floor and command > 0 else 0


def _around(plan: Plan, gripper: _Gripper) -> bool:
    offset = np.linalg.norm(gripper.position - plan.grasp[:3])
    return plan.stage == "grasp" and not plan.push and offset < WIDER * CLOSE_M


def _advance(plan: Plan, gripper: _Gripper) -> Plan:
    here = pose(gripper.position, gripper.rotation)
    if plan.stage == "leave" and plan.then is not None:
        near = np.linalg.norm(gripper.position - plan.place[:3]) < 0.02
        return plan.then if near else plan
    if plan.held:
        arrived = plan.moves and np.linalg.norm(here[:3] - plan.place[:3]) < 0.006
        if arrived or (not plan.moves and gripper.opening > plan.width_m + LET_GO_M):
            away = here.copy()
            away[:3] -= 0.10 * (plan.approach if plan.moves else plan.descent)
            return plan.then or replace(plan, stage="leave", held=False, grasp=here, place=away)
        return replace(plan, grasp=here)
    if plan.stage == "grasp":
        shift = here[:3] - plan.grasp[:3]
        if plan.push:
            begun = np.linalg.norm(shift) < 0.012
            return replace(plan, stage="move", held=True) if begun else plan
        if gripper.gripped >= 3:
            # What is held keeps its place between the fingers, however the grasp was missed.
            place = plan.place.copy()
            place[:3] += shift
            stage = "move" if plan.moves else "carry"
            return replace(plan, stage=stage, held=True, grasp=here, place=place)
    return plan


def _spring(goal: np.ndarray, speed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Path and speed after one period of a critically damped spring towards `goal`."""
    rate = math.sqrt(STIFFNESS)
    decay = math.exp(-rate * PERIOD_S)
    slope = speed - rate * goal
    moved = goal + (slope * PERIOD_S - goal) * decay
    return moved, (slope - rate * (slope * PERIOD_S - goal)) * decay


def _action(path: np.ndarray, turn: np.ndarray, closed: bool) -> np.ndarray:
    action = np.empty(7)
    action[:3] = _limited(GAIN / STEP_M * path)
    action[3:6] = _limited(TURN_GAIN / STEP_RAD * turn)
    action[6] = 1.0 if closed else -1.0
    return action


def _limited(vector: np.ndarray) -> np.ndarray:
    """Shortened as a whole until each number is in [-1, 1]: the direction stays."""
    return vector / max(1.0, float(np.max(np.abs(vector))))


def pose(position: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """(7,) position and quaternion w, x, y, z."""
    quaternion = np.empty(4)
    mujoco.mju_mat2Quat(quaternion, np.ascontiguousarray(rotation, float).reshape(9))
    return np.concatenate([position, quaternion])


def matrix(of: np.ndarray) -> np.ndarray:
    """Rotation (3, 3) of a pose (7,)."""
    flat = np.empty(9)
    mujoco.mju_quat2Mat(flat, np.ascontiguousarray(of[3:]))
    return flat.reshape(3, 3)


def rotation_of(vector: np.ndarray) -> np.ndarray:
    """Rotation (3, 3) about an axis times an angle (3,)."""
    angle = float(np.linalg.norm(vector))
    quaternion, flat = np.empty(4), np.empty(9)
    mujoco.mju_axisAngle2Quat(quaternion, vector / max(angle, 1e-12), angle)
    mujoco.mju_quat2Mat(flat, quaternion)
    return flat.reshape(3, 3)


def turn_between(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Axis times angle (3,) in the world's frame of the shortest turn from one to the other."""
    quaternion, vector = np.empty(4), np.empty(3)
    mujoco.mju_mat2Quat(quaternion, np.ascontiguousarray(end @ start.T).reshape(9))
    mujoco.mju_quat2Vel(vector, quaternion, 1.0)
    return vector
