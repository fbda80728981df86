"""The network of the pose check as torch trains it; `pose_check.network` runs it with numpy."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from multismolvla.arm import JOINT_NAMES
from multismolvla.pose_check.picture import SIZE

WIDTHS = (12, 24, 32)
MEETING = 64


class PoseNetwork(nn.Module):
    """From a frame and joint positions to how little they fit.

    Frame and joints are described apart, by 64 numbers each, and compared by a third part.

    Args:
        channels: of the frame.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        first, second, third = WIDTHS
        self.picture = nn.Sequential(
            nn.Conv2d(channels, first, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(first, second, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(second, third, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(third * (SIZE // 8) ** 2, MEETING),
        )
        self.joints = nn.Sequential(
            nn.Linear(2 * len(JOINT_NAMES), MEETING), nn.ReLU(), nn.Linear(MEETING, MEETING)
        )
        self.compare = nn.Sequential(
            nn.Linear(3 * MEETING, MEETING), nn.ReLU(), nn.Linear(MEETING, 1)
        )

    def forward(self, pictures: Tensor, joints: Tensor) -> Tensor:
        """Logits (B,) that the frames (B, C, SIZE, SIZE) do not fit the joints (B, J) radians."""
        seen = self.picture(pictures)
        pose = self.joints(torch.cat((joints.sin(), joints.cos()), dim=1))
        met = torch.cat((seen.relu(), pose.relu(), seen * pose), dim=1)
        return self.compare(met)[:, 0]
