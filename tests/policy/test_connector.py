"""Fusing streams and pooling grids."""

import pytest
import torch

from multismolvla.policy.config import ConfigError
from multismolvla.policy.connector import Connector, fuse


def test_the_mean_is_over_the_streams_present():
    grids = torch.stack([torch.full((2, 4, 3), value) for value in (1.0, 3.0, 8.0)], dim=1)
    present = torch.tensor([[True, True, False], [False, False, True]])
    fused = fuse(grids, present)
    assert fused.shape == (2, 4, 3)
    assert (fused[0] == 2.0).all() and (fused[1] == 8.0).all()
    torch.testing.assert_close(fuse(grids), fuse(grids, torch.ones(2, 3, dtype=torch.bool)))


def test_an_absent_stream_is_not_read_and_none_at_all_gives_zeros():
    grids = torch.full((1, 2, 4, 3), torch.nan)
    assert (fuse(grids, torch.zeros(1, 2, dtype=torch.bool)) == 0).all()


def test_tokens_keep_their_place_on_the_grid():
    """Each token of a 2 x 2 view reads its own quarter of a 4 x 4 grid and nothing else."""
    connector = Connector(dim=6, grid=4, tokens=4, hidden_size=8)
    grid = torch.randn(1, 16, 6)
    before = connector(grid)
    grid[0, 3] += 1.0  # row 0, column 3: the upper right quarter
    changed = (connector(grid) - before).abs().amax(dim=(0, 2)) > 1e-6
    assert changed.tolist() == [False, True, False, False]


def test_pooling_early_is_pooling_at_the_end():
    connector = Connector(dim=6, grid=4, tokens=4, hidden_size=8)
    grid = torch.randn(2, 16, 6)
    mapped = connector.fc2(torch.nn.functional.gelu(connector.fc1(grid)))
    pooled = mapped.view(2, 2, 2, 2, 2, 8).mean(dim=(2, 4)).view(2, 4, 8)
    torch.testing.assert_close(connector(grid), connector.norm(pooled))


@pytest.mark.parametrize(("grid", "tokens"), [(14, 64), (8, 64), (5, 9)])
def test_any_square_up_to_the_grid(grid, tokens):
    output = Connector(6, grid, tokens, 8)(torch.randn(2, grid**2, 6))
    assert output.shape == (2, tokens, 8)


@pytest.mark.parametrize("tokens", [48, 81])
def test_other_numbers_of_tokens_are_refused(tokens):
    with pytest.raises(ConfigError, match=f"tokens_per_view is {tokens}; expected a square .* 64"):
        Connector(6, 8, tokens, 8)


def test_the_output_starts_at_the_wished_size():
    output = Connector(6, 4, 16, 64, norm_target=5.0)(torch.randn(2, 16, 6))
    size = output.square().mean(-1).sqrt()
    torch.testing.assert_close(size, torch.full((2, 16), 5.0), atol=1e-2, rtol=0)
