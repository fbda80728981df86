"""An arm as data: everything that the rest of the stack may know of one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from multismolvla.embodiment.kinematics import EmbodimentError, Kinematics

JOINT_TARGETS, END_EFFECTOR_DELTAS = "joint_targets", "end_effector_deltas"
ACTION_KINDS = (JOINT_TARGETS, END_EFFECTOR_DELTAS)
# Actions follow each other at this period where an arm does not have its own.
PERIOD_S = 1 / 30
# No joint of an arm turns farther; an angle beyond it was meant in degrees.
MOST_RAD = 4.0 * math.pi


@dataclass(frozen=True)
class Joint:
    """One joint: limits, largest speed and acceleration of its setpoint, and its angle at home.

    Attributes:
        topic_name: what the driver of the arm calls it in `joint_states` and `joint_trajectory`;
            empty for `name`. Zero and direction are the same: only the name is another.
    """

    name: str
    lower_rad: float
    upper_rad: float
    max_velocity_rad_s: float
    max_acceleration_rad_s2: float
    home_rad: float = 0.0
    topic_name: str = ""

    def __post_init__(self) -> None:
        for key in ("lower_rad", "upper_rad", "home_rad"):
            if not abs(getattr(self, key)) <= MOST_RAD:
                self._refuse(key, f"radians, at most {MOST_RAD:.1f} either way; degrees?")
        if self.lower_rad >= self.upper_rad:
            self._refuse("lower_rad", f"less than upper_rad, {self.upper_rad}")
        if not self.lower_rad <= self.home_rad <= self.upper_rad:
            self._refuse("home_rad", f"{self.lower_rad} to {self.upper_rad}, the joint's limits")
        for key in ("max_velocity_rad_s", "max_acceleration_rad_s2"):
            if not 0 < getattr(self, key) < math.inf:
                self._refuse(key, "a positive number")

    def _refuse(self, key: str, expected: str) -> None:
        raise EmbodimentError(
            f"{key} is {getattr(self, key)} for '{self.name}'; expected {expected}"
        )


@dataclass(frozen=True)
class Gripper:
    """A joint that opens and closes fingers, and its angles there."""

    joint: str
    closed_rad: float
    open_rad: float


@dataclass(frozen=True)
class ActionSpace:
    """What an action of the policy is.

    Attributes:
        kind: `joint_targets`, one angle per joint, or `end_effector_deltas`, steps of the gripper's
            pose that a controller outside of this stack follows.
        names: of the numbers, in order.
        lower, upper: their bounds.
        period_s: between one action and the next.
        kept: names of the deltas' numbers that are targets, not steps, such as the gripper: an arm
            that holds still keeps them.
    """

    kind: str
    names: tuple[str, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    period_s: float = PERIOD_S
    kept: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in ACTION_KINDS:
            raise EmbodimentError(f"kind is '{self.kind}'; expected {' or '.join(ACTION_KINDS)}")
        _different("names", self.names)
        for key in ("lower", "upper"):
            count = len(getattr(self, key))
            if count != len(self.names):
                raise EmbodimentError(
                    f"{key} has {count} numbers; expected {len(self.names)}, one per name"
                )
        for name, lower, upper in zip(self.names, self.lower, self.upper, strict=True):
            if not lower < upper:
                raise EmbodimentError(
                    f"lower is {lower} for '{name}'; expected less than upper, {upper}"
                )
        if not 0 < self.period_s < math.inf:
            raise EmbodimentError(f"period_s is {self.period_s}; expected a positive number")
        if self.kept and not self.deltas:
            raise EmbodimentError(
                f"kept is {', '.join(self.kept)}; expected none, a joint target is kept anyway"
            )
        unknown = [name for name in self.kept if name not in self.names]
        if unknown:
            raise EmbodimentError(f"kept is '{unknown[0]}'; expected {', '.join(self.names)}")

    @property
    def deltas(self) -> bool:
        """Whether an action is a step from where the arm is, so that repeating one moves on."""
        return self.kind == END_EFFECTOR_DELTAS

    def still(self, last: np.ndarray) -> np.ndarray:
        """The action with which an arm holds still after the action `last` (..., A).

        The last target again, or a step of zero with the numbers that are `kept`.
        """
        if not self.deltas:
            return np.array(last)
        return np.where([name in self.kept for name in self.names], last, np.zeros(()))


@dataclass(frozen=True)
class LeRobotNames:
    """What LeRobot data sets of an arm call things that do not follow the rule for joints.

    Attributes:
        robot_type: of `meta/info.json`.
        state, action: names of the numbers of `observation.state` and `action`, which need not
            differ there; empty for `<joint>.pos`.
        cameras: (stream, camera) pairs: the stream is in `observation.images.<camera>`. Others are
            named for their stream.
    """

    robot_type: str = ""
    state: tuple[str, ...] = ()
    action: tuple[str, ...] = ()
    cameras: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Embodiment:
    """One kind of arm. Arrays have one number per joint, in the order of `joints`.

    Attributes:
        grippers: the joints that are fingers.
        kinematics: None where nothing needs to know where the gripper is.
        action: what the policy commands; None for joint targets.
        state: names of the numbers that the policy is shown of the arm; empty for the joints.
        views: namespaces of the cameras that belong to it, "" for one without.
        lerobot: names in LeRobot data sets.
    """

    name: str
    joints: tuple[Joint, ...]
    grippers: tuple[Gripper, ...] = ()
    kinematics: Kinematics | None = None
    action: ActionSpace | None = None
    state: tuple[str, ...] = ()
    views: tuple[str, ...] = ()
    lerobot: LeRobotNames = LeRobotNames()

    def __post_init__(self) -> None:
        if not self.joints:
            raise EmbodimentError("joints is empty; expected at least one joint")
        _different("joints", self.joint_names)
        _different("topic_name", [joint.topic_name or joint.name for joint in self.joints])
        for gripper in self.grippers:
            if gripper.joint not in self.joint_names:
                raise EmbodimentError(
                    f"grippers.joint is '{gripper.joint}'; expected {', '.join(self.joint_names)}"
                )
            joint = self.joints[self.joint_names.index(gripper.joint)]
            for key in ("closed_rad", "open_rad"):
                angle = getattr(gripper, key)
                if not joint.lower_rad <= angle <= joint.upper_rad:
                    raise EmbodimentError(
                        f"grippers.{key} is {angle} for '{gripper.joint}'; "
                        f"expected {joint.lower_rad} to {joint.upper_rad}, the joint's limits"
                    )
        if self.kinematics is not None and self.kinematics.joints > len(self.state_names):
            raise EmbodimentError(
                f"kinematics moves {self.kinematics.joints} joints; "
                f"expected at most {len(self.state_names)}, those of the arm"
            )
        if self.action is not None and self.action.kind == JOINT_TARGETS:
            self.check_joints(self.action.names, "action.names")
        _different("state", self.state)

    def __len__(self) -> int:
        """Number of joints."""
        return len(self.joints)

    @cached_property
    def joint_names(self) -> tuple[str, ...]:
        return tuple(joint.name for joint in self.joints)

    @cached_property
    def lower_rad(self) -> np.ndarray:
        return self._array("lower_rad")

    @cached_property
    def upper_rad(self) -> np.ndarray:
        return self._array("upper_rad")

    @cached_property
    def home_rad(self) -> np.ndarray:
        """The pose that every episode starts from."""
        return self._array("home_rad")

    @cached_property
    def velocity_rad_s(self) -> np.ndarray:
        return self._array("max_velocity_rad_s")

    @cached_property
    def acceleration_rad_s2(self) -> np.ndarray:
        return self._array("max_acceleration_rad_s2")

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of the numbers of a state."""
        return self.state or self.joint_names

    @cached_property
    def action_space(self) -> ActionSpace:
        """What an action is: `action`, or a target per joint within its limits."""
        if self.action is not None:
            return self.action
        lower = tuple(joint.lower_rad for joint in self.joints)
        upper = tuple(joint.upper_rad for joint in self.joints)
        return ActionSpace(JOINT_TARGETS, self.joint_names, lower, upper)

    @property
    def action_names(self) -> tuple[str, ...]:
        """Names of the numbers of an action."""
        return self.action_space.names

    @property
    def commands_joints(self) -> bool:
        """Whether an action is a target per joint, which a joint trajectory can carry."""
        return not self.action_space.deltas

    @property
    def rest_state(self) -> np.ndarray:
        """A state to try a policy with: home, or zeros where states are not joints."""
        return np.zeros(len(self.state)) if self.state else self.home_rad

    @property
    def gripper_joints(self) -> tuple[str, ...]:
        return tuple(gripper.joint for gripper in self.grippers)

    def own_names(self, found: Sequence[str]) -> list[str]:
        """Names of a message of the arm's driver, those of `topic_name` as the joints' own."""
        own = {joint.topic_name: joint.name for joint in self.joints if joint.topic_name}
        return [own.get(name, name) for name in found]

    def state_of(self, names: Sequence[str], positions: Sequence[float]) -> np.ndarray:
        """State (S,) of a message of the arm's driver, in the order of `state_names`.

        What the message holds beyond the arm's own is left out.

        Raises:
            EmbodimentError: a name is missing or there twice, or its position is not finite.
        """
        own, wanted = self.own_names(names), self.state_names
        absent = [name for name in wanted if own.count(name) != 1]
        if absent or len(positions) != len(own):
            kind = "numbers" if self.state else "joints"
            raise EmbodimentError(
                f"{len(positions)} positions for the {kind} {', '.join(names) or 'without names'}; "
                f"the arm '{self.name}' has {', '.join(self.topic_names(wanted))}, each once. "
                "Where zero and direction are the same, topic_name in its file maps other names"
            )
        found = dict(zip(own, positions, strict=True))
        state = np.array([found[name] for name in wanted], dtype=float)
        bad = [name for name in wanted if not np.isfinite(found[name])]
        if bad:
            raise EmbodimentError(f"no finite position for {', '.join(bad)}")
        return state

    def topic_names(self, own: Sequence[str]) -> list[str]:
        """The arm's own names as its driver calls them."""
        others = {joint.name: joint.topic_name for joint in self.joints if joint.topic_name}
        return [others.get(name, name) for name in own]

    def check_joints(self, found: Sequence[str], where: str) -> None:
        """Raise EmbodimentError unless `found` are the joints of this arm, in its order."""
        self._check("joints", tuple(found), self.joint_names, where)

    def check_data(self, state: Sequence[str], action: Sequence[str], where: str) -> None:
        """Raise EmbodimentError unless recorded states and actions are those of this arm."""
        what = "states" if self.state else "joints"
        self._check(what, tuple(state), self.state_names, where)
        self._check("actions", tuple(action), self.action_names, where)

    def check_policy(self, state: Sequence[str], action: Sequence[str], where: str) -> None:
        """Raise EmbodimentError unless a policy of these states and actions moves this arm."""
        self._check("states", tuple(state), self.state_names, where)
        self._check("actions", tuple(action), self.action_names, where)

    def _check(
        self, what: str, found: tuple[str, ...], expected: tuple[str, ...], where: str
    ) -> None:
        if found != expected:
            raise EmbodimentError(
                f"{where}: {what} are {', '.join(found) or 'missing'}; "
                f"the arm '{self.name}' has {', '.join(expected)}"
            )

    def _array(self, key: str) -> np.ndarray:
        values = np.array([getattr(joint, key) for joint in self.joints])
        values.flags.writeable = False
        return values


def _different(where: str, names: Iterable[str]) -> None:
    names = tuple(names)
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise EmbodimentError(f"{where} has '{twice[0]}' twice; expected different names")
