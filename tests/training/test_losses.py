"""Many draws per observation are the mean of single ones."""

import torch

from multismolvla.embodiment.so101 import KINEMATICS, SO101
from multismolvla.policy.config import tiny
from multismolvla.policy.model import MultiSmolVLA
from multismolvla.streams import Stream
from multismolvla.training.policy.objective import flow_loss, row_weights

STREAM = Stream("rgb", "rgb", 32, 32, 15.0, "optical_frame")


def test_draws_are_averaged_per_sample():
    torch.manual_seed(0)
    config = tiny((STREAM,), SO101)
    model = MultiSmolVLA(config, KINEMATICS).eval()
    prefix = model.prefix(
        {"rgb": torch.randn(2, 3, 32, 32)},
        torch.ones(2, 1, dtype=torch.bool),
        torch.ones(2, 3, dtype=torch.int64),
        torch.ones(2, 3, dtype=torch.bool),
        torch.randn(2, config.max_state_dim),
    )
    actions, noise, time = torch.randn(2, 10, 6), torch.randn(2, 3, 10, 6), torch.rand(2, 3)
    together = flow_loss(model, prefix, actions, noise, time)
    single = [
        flow_loss(model, prefix, actions, noise[:, k : k + 1], time[:, k : k + 1]) for k in range(3)
    ]
    torch.testing.assert_close(together, torch.stack(single).mean(dim=0))


def test_near_rows_weigh_more_and_the_mean_stays():
    weights = row_weights(50, 1.0)
    torch.testing.assert_close(weights.mean(), torch.tensor(1.0))
    torch.testing.assert_close(weights[0] / weights[-1], torch.tensor(2.0))
