"""What is absent never reaches the labels; everything that is present does."""

from itertools import combinations

import pytest
import torch

from multismolvla.modalities.segmentation import LABELS
from multismolvla.segmentation.network import INPUT_KINDS, SegmentationNetwork

SUBSETS = [s for size in (1, 2, 3) for s in combinations(INPUT_KINDS, size)]
CHANNELS = {"rgb": 3, "depth": 1, "thermal": 1}
SCALE = {"rgb": 255.0, "depth": 1.0, "thermal": 50.0}


def random_frames(seed, batch=2, size=(32, 32)):
    generator = torch.Generator().manual_seed(seed)
    return {
        kind: torch.rand(batch, CHANNELS[kind], *size, generator=generator) * SCALE[kind]
        for kind in INPUT_KINDS
    }


def mask(*rows):
    return torch.tensor([[kind in row for kind in INPUT_KINDS] for row in rows])


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return SegmentationNetwork().eval()


@pytest.fixture(autouse=True)
def no_gradients(request):
    with torch.set_grad_enabled("gradient" in request.node.name):
        yield


@pytest.mark.parametrize("present", SUBSETS, ids="+".join)
def test_an_absent_input_has_no_influence_not_even_nan(network, present):
    frames = random_frames(1)
    rows = mask(present, present)
    expected = network({kind: frames[kind] for kind in present}, rows)
    for garbage in (float("nan"), float("inf"), 0.0, 1e9):
        spoilt = {
            kind: frames[kind] if kind in present else torch.full_like(frames[kind], garbage)
            for kind in INPUT_KINDS
        }
        assert torch.equal(network(spoilt, rows), expected)


def test_presence_is_per_sample(network):
    frames = random_frames(2)
    frames["rgb"][0] = float("nan")
    frames["thermal"][1] = float("nan")
    together = network(frames, mask({"depth", "thermal"}, {"rgb", "depth"}))
    first = network({k: v[:1] for k, v in frames.items()}, mask({"depth", "thermal"}))
    second = network({k: v[1:] for k, v in frames.items()}, mask({"rgb", "depth"}))
    assert torch.allclose(together, torch.cat([first, second]), atol=1e-5)


def test_an_absent_input_gets_no_gradient(network):
    frames = {kind: frame.requires_grad_() for kind, frame in random_frames(3).items()}
    network(frames, mask({"rgb"}, {"rgb", "depth"})).sum().backward()
    assert frames["rgb"].grad.abs().sum() > 0
    assert frames["depth"].grad[0].abs().sum() == 0
    assert frames["depth"].grad[1].abs().sum() > 0
    assert frames["thermal"].grad is None
    network.zero_grad()


@pytest.mark.parametrize("kind", INPUT_KINDS)
def test_every_input_that_is_present_changes_the_output(network, kind):
    frames = random_frames(4)
    everything = mask(set(INPUT_KINDS), set(INPUT_KINDS))
    before = network(frames, everything)
    frames[kind] = random_frames(5)[kind]
    assert not torch.allclose(network(frames, everything), before)


def test_absent_is_not_the_same_as_a_zero_image(network):
    frames = random_frames(6)
    zeroed = frames | {"rgb": torch.zeros_like(frames["rgb"])}
    with_zeros = network(zeroed, mask(set(INPUT_KINDS), set(INPUT_KINDS)))
    without = network(frames, mask({"depth", "thermal"}, {"depth", "thermal"}))
    assert not torch.allclose(with_zeros, without)


def test_missing_returns_give_finite_labels_and_differ_from_a_value(network):
    frames = {"depth": random_frames(7)["depth"]}
    holes = frames["depth"].clone()
    holes[:, :, 8:16, 8:16] = float("nan")
    logits = network({"depth": holes}, mask({"depth"}, {"depth"}))
    assert torch.isfinite(logits).all()
    assert not torch.allclose(logits, network(frames, mask({"depth"}, {"depth"})))
    nothing = torch.full_like(holes, float("nan"))
    assert torch.isfinite(network({"depth": nothing}, mask({"depth"}, {"depth"}))).all()


@pytest.mark.parametrize("size", [(96, 96), (30, 45), (8, 8), (9, 17)])
def test_any_size_comes_out_as_it_went_in(network, size):
    frames = random_frames(8, batch=1, size=size)
    logits = network(frames, mask(set(INPUT_KINDS)))
    assert logits.shape == (1, len(LABELS), *size)
