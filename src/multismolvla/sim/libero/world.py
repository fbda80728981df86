"""LIBERO's physics: one task at a time, 50 ms a step, with its own controller and success test.

Scenes, robot, controller and goals are LIBERO's and robosuite's own code. A step is `env.step` to
the last bit (a test), without the parts that compute the same again or make observations.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from typing import Any

import mujoco
import numpy as np

from multismolvla.embodiment.panda import PANDA
from multismolvla.sim.libero.package import load, quiet
from multismolvla.sim.libero.tasks import (
    INIT_STATES,
    LiberoTask,
    find_libero_task,
    place_of,
)

STEP_S = 0.05
# Ten steps of it let the objects come to rest before an episode begins, as the field does.
NO_OP = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0])
SETTLING_STEPS = 10


class LiberoWorld:
    """One scene of LIBERO; another task loads another one, which takes seconds.

    Actions (7,) in [-1, 1]: steps of the gripper's position (5 cm at 1) and orientation (0.5 rad)
    in the world's frame, and the gripper (-1 open, 1 closed). States (8,): position of the grip
    point, metres; orientation of the hand as an axis times its angle, radians; the two fingers.

    Attributes:
        env: LIBERO's environment of the task; None before the first one.
        place: digest of where everything was when the episode began; see `tasks.place_of`.
        steps: taken since the episode began, without those that let it settle.
    """

    embodiment = PANDA

    def __init__(self) -> None:
        self.env: Any = None
        self._task: LiberoTask | None = None
        self.place = ""
        # Fixtures as the model is built, before a place is drawn for them.
        self._unplaced: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self.steps = 0

    @property
    def task(self) -> LiberoTask:
        """The task of the running episode."""
        assert self._task is not None
        return self._task

    @property
    def model(self) -> mujoco.MjModel:
        return self.env.sim.model._model

    @property
    def data(self) -> mujoco.MjData:
        return self.env.sim.data._data

    def load(self, task: str | LiberoTask) -> None:
        """Build the scene of a task, unless it is there already; begins no episode.

        Raises:
            ValueError: there is no such task.
            LiberoMissing: the wheels are not there.
        """
        task = find_libero_task(task) if isinstance(task, str) else task
        if task == self._task:
            return
        envs = load("libero.libero.envs.env_wrapper")
        _fit_controller()
        # What is kept of the scene before is freed first: two of them would double the memory.
        self.env = self._task = None
        gc.collect()
        with quiet():
            self.env = envs.ControlEnv(
                str(task.bddl_file),
                use_camera_obs=False,
                has_offscreen_renderer=False,
                initialization_noise="default",
                ignore_done=True,
                hard_reset=False,
            ).env
        self._task = task
        self._unplaced = {
            name: _declared_pose(self.env.model.worldbody, self.model.body(body).name)
            for name, body in self.env.obj_body_id.items()
            if name in self.env.fixtures_dict
        }

    def reset(self, task: str | LiberoTask, seed: int) -> None:
        """Begin an episode in a place of our own, drawn as LIBERO draws them: for training.

        The same seed gives the same place. None of them is one of the official places.
        """
        self.load(task)
        own = np.random.SeedSequence([seed, *self.task.id.encode()]).generate_state(1)
        self._draw_place(int(own[0]))
        self._begin()

    def start(self, task: str | LiberoTask, init_state: int) -> None:
        """Begin an episode in one of the 50 official places: for testing only.

        Raises:
            ValueError: there is no such place, or the scene is not the one it was made for.
        """
        self.load(task)
        if not 0 <= init_state < INIT_STATES:
            raise ValueError(
                f"init state is {init_state}; every task of LIBERO has 0 to {INIT_STATES - 1}"
            )
        state = self.task.init_states()[init_state]
        expected = 1 + self.model.nq + self.model.nv
        if len(state) != expected:
            raise ValueError(
                f"init state {init_state} of {self.task.id} has {len(state)} numbers; "
                f"its scene has {expected}: it belongs to another task"
            )
        # Fixtures are no part of it: they stand where the field's seed of 0 puts them.
        self._draw_place(0)
        self.env.sim.set_state_from_flattened(state)
        self.env.sim.forward()
        self._begin()

    def begin(self, task: str | LiberoTask, seed: int) -> None:
        """Begin an episode in official place `seed`, or in one of our own from 50 on."""
        if seed < INIT_STATES:
            self.start(task, seed)
        else:
            self.reset(task, seed)

    def step(self, action: Sequence[float] | np.ndarray) -> None:
        """Simulate 50 ms of an action (7,), clipped to [-1, 1]."""
        action = np.clip(np.asarray(action, float), -1.0, 1.0)
        env, model, data = self.env, self.model, self.data
        robot, controller = env.robots[0], env.robots[0].controller
        env.timestep += 1
        # What `robot.control` looks up anew in every time step.
        low, high = robot.torque_limits
        arm, fingers = robot._ref_joint_actuator_indexes, robot._ref_joint_gripper_actuator_indexes
        span = model.actuator_ctrlrange[fingers]
        bias, weight = 0.5 * (span[:, 1] + span[:, 0]), 0.5 * (span[:, 1] - span[:, 0])
        for substep in range(int(env.control_timestep / env.model_timestep)):
            # `env.step` computes the first half three times: twice by `mj_forward`, once here.
            mujoco.mj_step1(model, data)
            if substep == 0:
                controller.set_goal(action[:6])
            data.ctrl[arm] = np.clip(controller.run_controller(), low, high)
            data.ctrl[fingers] = bias + weight * robot.gripper.format_action(action[6:])
            mujoco.mj_step2(model, data)
        env.cur_time += env.control_timestep
        env._post_process()
        self.steps += 1

    def success(self) -> bool:
        """LIBERO's own test of the goal, now."""
        return bool(self.env._check_success())

    def state(self) -> np.ndarray:
        """(8,) what the field's policies are shown of the arm; see the class."""
        robot = self.env.robots[0]
        quaternion = self.data.body(robot.robot_model.eef_name).xquat
        return np.concatenate(
            [
                self.data.site_xpos[robot.eef_site_id],
                axis_angle(quaternion),
                self.data.qpos[robot._ref_gripper_joint_pos_indexes],
            ]
        )

    def gripper_pose(self) -> tuple[np.ndarray, np.ndarray]:
        """Grip point (3,), rotation (3, 3): z points out of the hand, the fingers close along x."""
        site = self.env.robots[0].eef_site_id
        return self.data.site_xpos[site].copy(), self.data.site_xmat[site].reshape(3, 3).copy()

    def gripper_velocity(self) -> np.ndarray:
        """(6,) of the grip point, m/s, and of the hand's turning, rad/s, in the world's frame."""
        site, found = self.env.robots[0].eef_site_id, np.empty(6)
        kind = mujoco.mjtObj.mjOBJ_SITE
        mujoco.mj_objectVelocity(self.model, self.data, kind, site, found, 0)
        return np.concatenate([found[3:], found[:3]])

    def object_poses(self) -> dict[str, np.ndarray]:
        """Object or fixture of the bddl file -> (7,) x, y, z, qw, qx, qy, qz, world, metres."""
        data = self.data
        return {
            name: np.concatenate([data.xpos[body], data.xquat[body]])
            for name, body in self.env.obj_body_id.items()
        }

    def snapshot(self, into: mujoco.MjData) -> None:
        """Copy the state into a renderer's own data, ready to draw."""
        into.time = self.data.time
        into.qpos[:] = self.data.qpos
        into.qvel[:] = self.data.qvel
        mujoco.mj_kinematics(self.model, into)
        mujoco.mj_comPos(self.model, into)
        mujoco.mj_camlight(self.model, into)

    @property
    def goal(self) -> list[tuple[str, ...]]:
        """The goal as the bddl file has it: [(predicate, thing[, place]), ...], all must hold."""
        return [tuple(part) for part in self.env.parsed_problem["goal_state"]]

    @property
    def instances(self) -> Mapping[str, str]:
        """Object or fixture -> its category, such as `akita_black_bowl_1` -> `akita_black_bowl`."""
        parsed = self.env.parsed_problem
        return {
            name: category
            for kind in ("fixtures", "objects")
            for category, names in parsed[kind].items()
            for name in names
        }

    def _draw_place(self, seed: int) -> None:
        errors = load("robosuite.utils.errors")
        # LIBERO draws from numpy's global generator.
        kept = np.random.get_state()
        np.random.seed(seed)
        # LIBERO places what stands on a fixture by where the fixture's site is in a new model: its
        # fixtures have to be where they were before the last place was drawn.
        for name in self.env.fixtures_dict:
            body = self.env.obj_body_id[name]
            self.model.body_pos[body], self.model.body_quat[body] = self._unplaced[name]
        try:
            with quiet():
                while not self._placed(errors.RandomizationError):
                    pass
        finally:
            np.random.set_state(kept)

    def _placed(self, no_room: type[Exception]) -> bool:
        """Draw once; whether everything found room."""
        try:
            self.env.reset()
        except no_room:
            return False
        return True

    def _begin(self) -> None:
        """Let the scene settle; the arm stays where it is."""
        self.place = place_of(self.env.sim.get_state().flatten())
        robot = self.env.robots[0]
        # The gripper's command creeps towards its goal; LIBERO builds a new one for every episode.
        robot.gripper.current_action = np.zeros(robot.gripper.dof)
        controller = robot.controller
        # Else the arm would swing to where the last episode left the controller's goal.
        controller.update(force=True)
        controller.reset_goal()
        controller.update_initial_joints(controller.joint_pos)
        for _ in range(SETTLING_STEPS):
            self.step(NO_OP)
        self.steps = 0


def _declared_pose(worldbody: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Position and quaternion of a body as the XML has them."""
    body = worldbody.find(f".//body[@name='{name}']")
    return tuple(
        np.array(body.get(key, default).split(), float)
        for key, default in (("pos", "0 0 0"), ("quat", "1 0 0 0"))
    )


def axis_angle(quaternion: np.ndarray) -> np.ndarray:
    """Axis times angle (3,), radians, of a quaternion (4,) w x y z, as robosuite computes it.

    The angle is 2 acos(w), up to 2 pi: a hand that points down stays near pi and does not jump.
    """
    w = float(np.clip(quaternion[0], -1.0, 1.0))
    sine = np.sqrt(1.0 - w * w)
    if np.isclose(sine, 0.0):
        return np.zeros(3)
    return quaternion[1:] * (2.0 * np.arccos(w) / sine)


def _fit_controller() -> None:
    """Make robosuite 1.4's controller work with MuJoCo 3, and read only what it needs.

    Its `update` calls `mj_forward` on every time step, though the loop around it has just computed
    all of that; and `mj_fullM` takes other arguments since MuJoCo 3.
    """
    controller = load("robosuite.controllers.base_controller").Controller
    controller.update = _update


def _update(self: Any, force: bool = False) -> None:
    """`robosuite.controllers.base_controller.Controller.update`, the same numbers."""
    if not (self.new_update or force):
        return
    if force:
        self.sim.forward()
    model, data = self.sim.model._model, self.sim.data._data
    site = _site(self, model)
    self.ee_pos = data.site_xpos[site].copy()
    self.ee_ori_mat = data.site_xmat[site].reshape(3, 3).copy()
    place, turn = np.empty((3, model.nv)), np.empty((3, model.nv))
    mujoco.mj_jacSite(model, data, place, turn, site)
    self.ee_pos_vel, self.ee_ori_vel = place @ data.qvel, turn @ data.qvel
    self.joint_pos = data.qpos[self.qpos_index].copy()
    self.joint_vel = data.qvel[self.qvel_index].copy()
    self.J_pos, self.J_ori = place[:, self.qvel_index], turn[:, self.qvel_index]
    self.J_full = np.vstack([self.J_pos, self.J_ori])
    masses = np.empty((model.nv, model.nv))
    mujoco.mj_fullM(model, masses, data.qM)
    self.mass_matrix = masses[self.qvel_index][:, self.qvel_index]
    self.new_update = False


def _site(self: Any, model: mujoco.MjModel) -> int:
    site = self.__dict__.get("_grip_site")
    if site is None:
        site = self._grip_site = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_SITE, self.eef_name)
    return site
