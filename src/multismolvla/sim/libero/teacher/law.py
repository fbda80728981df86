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
RELEASE_M = 0.012
# Opening of both fingers together, metres.
OPEN_M = 0.077
# How far beyond the width of what was held the fingers are no longer on it.
LET_GO_M = 0.012


@dataclass(frozen=True)
class Plan:
    """One subgoal from the state of the world now.

    Poses are of the gripper, (7,) x, y, z, qw, qx, qy, qz in the world's frame, metres.

    Attributes:
        stage: `grasp` (bring the fingers around the thing), `carry` (bring it to its place and let
            it go), `move` (guide a handle to its place), `leave` (back off, open), `done`.
        grasp: where the fingers close; it moves along with what they hold.
        place: where they open, or where a handle has to be brought to.
        held: the object or handle is between the closed fingers.
        approach: (3,) unit, the direction of the last centimetres to the grasp.
        descent: (3,) unit, of the last centimetres to the place.
        hover_m: height at which the grip point passes over what lies between it and its target.
        width_m: opening of both fingers together around what they hold.
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
        away = plan.place[:3] - position
        return _action(free * away, free * turn_between(rotation, matrix(plan.place)), closed=False)
    held = plan.held
    goal = plan.place if held else plan.grasp
    axis = plan.descent if held else plan.approach
    turn = turn_between(rotation, matrix(goal))
    angle = float(np.linalg.norm(turn))
    offset = position - goal[:3]
    back = -float(offset @ axis)
    lateral = offset + back * axis
    aside = float(np.linalg.norm(lateral))

    if held:
        wide = WIDER if opening > plan.width_m + 0.4 * LET_GO_M else 1.0
        there = aside < wide * RELEASE_M and abs(back) < wide * RELEASE_M and angle < wide * 0.2
        closed = not there
        shut = 0.0
    else:
        closing = opening < OPEN_M - 0.006
        missed = opening < plan.width_m - 0.008
        wide = WIDER if closing else 1.0
        there = aside < wide * CLOSE_M and abs(back) < wide * CLOSE_M and angle < wide * CLOSE_RAD
        there = closed = there and not missed
        shut = max(0.0, OPEN_M - 0.012 - opening)
    if there:
        return _action(-offset, turn, closed)

    slack = aside + TURN_WEIGHT_M * angle + SHUT_WEIGHT * shut
    height = max(plan.hover_m - goal[2], 0.02)
    stand_off = height / max(-axis[2], 0.5) if axis[2] < -0.5 else 0.10
    wanted = float(np.clip(SLOPE * (slack - THROAT_M), 0.0, stand_off))
    along = (back - wanted) * axis
    # Up first, then over what is in between.
    missing = plan.hover_m - 0.02 - position[2]
    freedom = 1.0 if aside < NECK_M else float(np.clip(1.0 - missing / 0.03, 0.0, 1.0))
    return _action(along - freedom * lateral, turn, closed)


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
    gripper = _Gripper(position, rotation, velocity, fingers)
    actions = np.empty((steps, 7))
    for k in range(steps):
        actions[k] = act(plan, gripper.position, gripper.rotation, gripper.fingers)
        gripper.step(actions[k], plan)
        plan = _advance(plan, gripper)
    return actions


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
        self._since = self._since + 1 if command == self._command else 1
        self._command = command
        if self._since <= self.LAG and 0.003 < self.opening < OPEN_M - 0.003:
            return
        around = plan.held or _around(plan, self)
        floor = plan.width_m if around else 0.0
        if command > 0:
            self.opening = max(min(self.opening, floor), self.opening - self.SPEED_M)
        else:
            self.opening = min(max(self.opening, OPEN_M), self.opening + self.SPEED_M)
        self.gripped = self.gripped + 1 if around and self.opening <= floor and command > 0 else 0


def _around(plan: Plan, gripper: _Gripper) -> bool:
    offset = np.linalg.norm(gripper.position - plan.grasp[:3])
    return plan.stage in ("grasp", "move") and offset < WIDER * CLOSE_M


def _advance(plan: Plan, gripper: _Gripper) -> Plan:
    here = pose(gripper.position, gripper.rotation)
    if plan.held:
        if gripper.opening > plan.width_m + LET_GO_M:
            up = here.copy()
            up[:3] -= 0.10 * plan.descent
            return plan.then or replace(plan, stage="leave", held=False, grasp=here, place=up)
        return replace(plan, grasp=here)
    if plan.stage == "grasp" and gripper.gripped >= 2:
        # What is held keeps its place between the fingers, however the grasp was missed.
        shift = here[:3] - plan.grasp[:3]
        place = plan.place.copy()
        place[:3] += shift
        return replace(plan, stage="carry", held=True, grasp=here, place=place)
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
