"""Between radians and the model's numbers: mean 0, spread 1, padded to the model's widths."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from multismolvla.embodiment.kinematics import Kinematics
from multismolvla.policy.config import PolicyConfig
from multismolvla.policy.gripper_frame import gripper_pose

# LeRobot's, for inputs only: a joint that never moved in the data is not divided by zero.
EPSILON = 1e-8


class Normalizer(nn.Module):
    """Mean and standard deviation of state and action, in the order of `config.joints` and
    `config.action_names`: radians where they are joints.

    With `config.relative_joints`, the actions of those joints are offsets from the measured state.
    An offset grows along the chunk, so then every row has statistics of its own: with common ones
    the first rows, which the arm follows first, would be lost beside the last.

    Args:
        kinematics: of the arm; needed with `config.objects`.

    Attributes:
        state_mean, state_std: (J,) float32, saved with the weights; 0 and 1 where nothing is given,
            which changes no number.
        action_mean, action_std: (A,) like them; (chunk_size, J) with relative joints.
    """

    state_mean: Tensor
    state_std: Tensor
    action_mean: Tensor
    action_std: Tensor
    _relative: Tensor

    def __init__(
        self,
        config: PolicyConfig,
        kinematics: Kinematics | None = None,
        *,
        state_mean: Tensor | None = None,
        state_std: Tensor | None = None,
        action_mean: Tensor | None = None,
        action_std: Tensor | None = None,
    ) -> None:
        """
        Raises:
            ValueError: statistics of another length, not finite, or a negative deviation; objects
                without the kinematics that place them.
        """
        super().__init__()
        if config.objects and kinematics is None:
            raise ValueError("a model with objects needs the kinematics of its arm")
        joints, actions = (len(config.joints),), (len(config.action_names),)
        rows = (config.chunk_size,) if config.relative_joints else ()
        relative = torch.tensor([joint in config.relative_joints for joint in config.joints])
        self.register_buffer("_relative", relative, persistent=False)
        self._per_row = bool(relative.any())  # read on every call: not from a GPU
        self._kinematics = kinematics if config.objects else None
        self.state_width, self.action_width = config.max_state_dim, config.max_action_dim
        for name, value, default in (
            ("state_mean", state_mean, 0.0),
            ("state_std", state_std, 1.0),
            ("action_mean", action_mean, 0.0),
            ("action_std", action_std, 1.0),
        ):
            shape = (*rows, *actions) if name.startswith("action") else joints
            if value is None:
                value = torch.full(shape, default)
            # A copy: memory shared with the caller's could change under the model.
            value = torch.as_tensor(value).detach().to(torch.float32, copy=True)
            if value.shape != shape:
                raise ValueError(f"{name} has shape {tuple(value.shape)}; expected {shape}")
            if not torch.isfinite(value).all():
                raise ValueError(f"{name} is {value.tolist()}; expected finite numbers")
            if name.endswith("std") and (value < 0).any():
                raise ValueError(f"{name} is {value.tolist()}; expected no negative number")
            self.register_buffer(name, value)

    def normalize_state(self, state: Tensor) -> Tensor:
        """Radians (..., J) of any float type to (..., max_state_dim) float32, padded with 0.

        With `config.objects` the gripper's pose follows the joints; see `gripper_frame.py`.
        """
        if self._kinematics is None:
            return _normalize(state, self.state_mean, self.state_std, self.state_width)
        joints = _normalize(state, self.state_mean, self.state_std, state.shape[-1])
        pose = gripper_pose(self._kinematics, state).to(joints.dtype)
        known = torch.cat((joints, pose), dim=-1)
        return F.pad(known, (0, self.state_width - known.shape[-1]))

    def normalize_action(self, action: Tensor, state: Tensor | None = None) -> Tensor:
        """Radians (..., A) of any float type to (..., max_action_dim) float32, padded with 0.

        Args:
            action: with relative joints the first rows of chunks, (..., P, A).
            state: (..., J) radians, measured when the chunk begins; needed with relative joints.
        """
        action = action - self._origin(state) if self._per_row else action
        mean, std = self._action_statistics(action)
        return _normalize(action, mean, std, self.action_width)

    def unnormalize_action(self, action: Tensor, state: Tensor | None = None) -> Tensor:
        """The model's (..., max_action_dim) to radians (..., A); what pads is cut off.

        Args: as in `normalize_action`.
        """
        mean, std = self._action_statistics(action)
        radians = action[..., : mean.shape[-1]] * std + mean
        return radians + self._origin(state) if self._per_row else radians

    def _action_statistics(self, action: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation for all rows of a chunk, or for the first of them."""
        if not self._per_row:
            return self.action_mean, self.action_std
        rows = action.shape[-2]
        return self.action_mean[:rows], self.action_std[:rows]

    def _origin(self, state: Tensor | None) -> Tensor:
        """(..., 1, J) what actions count from: the state, or 0 for a joint that is not relative."""
        if state is None:
            raise ValueError("actions relative to the state need the state")
        return torch.where(self._relative, state, 0.0)[..., None, :]


def _normalize(value: Tensor, mean: Tensor, std: Tensor, width: int) -> Tensor:
    normalized = (value.to(mean.dtype) - mean) / (std + EPSILON)
    return F.pad(normalized, (0, width - mean.shape[-1]))
