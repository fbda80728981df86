"""Masks and gradients of the visual encoder with every stream of two views."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from multismolvla.embodiment.so101 import SO101
from multismolvla.modalities.registry import kinds
from multismolvla.policy.base_model import initialise_views
from multismolvla.policy.config import FUSIONS, FourMConfig, PolicyConfig, TextConfig, tiny
from multismolvla.policy.fourm_views import FourMViews
from multismolvla.streams import Stream

NAMES = [f"{view}{kind}" for view in ("", "wrist/") for kind in kinds()]
STREAMS = tuple(
    Stream(name, name.rpartition("/")[2], 96, 96, 15.0, "camera_optical_frame") for name in NAMES
)
CONFIG = tiny(STREAMS, SO101)
FOURM = CONFIG.fourm
WEIGHTS = Path(__file__).parents[1] / "golden" / "fourm_tiny" / "encoder.safetensors"


def fused(fusion: str, streams: tuple[Stream, ...] = STREAMS) -> PolicyConfig:
    return replace(tiny(streams, SO101), fourm=replace(FOURM, fusion=fusion))


@pytest.fixture(params=FUSIONS)
def fusion(request) -> str:
    return request.param


@pytest.fixture
def views(fusion) -> FourMViews:
    torch.manual_seed(0)
    return FourMViews(fused(fusion)).eval()


def random_frames(batch: int = 1, streams=STREAMS, seed: int = 1) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        stream.name: torch.randn(
            batch, stream.modality.prepared_channels, 32, 32, generator=generator
        )
        for stream in streams
    }


def only(*names: str) -> torch.Tensor:
    """Mask (1, S) with these streams usable."""
    return torch.tensor([[name in names for name in NAMES]])


ALL = only(*NAMES)


def test_shapes(views):
    tokens, present = views(random_frames(2), ALL.repeat(2, 1))
    assert tokens.shape == (2, 2, 16, 64)
    assert present.tolist() == [[True, True]] * 2


@pytest.mark.parametrize("poison", [torch.nan, torch.inf, -torch.inf, 1e30])
@torch.inference_mode()
def test_masked_pixels_have_no_influence_to_the_last_bit(views, poison):
    """Per sample: each of three samples masks other streams, and one masks all."""
    mask = torch.cat((only("rgb", "wrist/depth"), only("thermal", "wrist/rgb", "depth"), only()))
    frames = random_frames(3)
    poisoned = {name: frame.clone() for name, frame in frames.items()}
    for i, name in enumerate(NAMES):
        poisoned[name][~mask[:, i]] = poison
    expected, present = views(frames, mask)
    tokens, present_too = views(poisoned, mask)
    assert torch.equal(tokens, expected) and torch.equal(present, present_too)
    assert tokens.isfinite().all()


@torch.inference_mode()
def test_masked_left_out_and_masked_in_company_are_the_same(views):
    """A stream may be gone, or be there and masked because another sample of the batch has it."""
    mask = only("rgb", "thermal", "wrist/segmentation")
    frames = random_frames()
    alone, _ = views({name: frames[name] for name in ("rgb", "thermal", NAMES[-1])}, mask)
    masked, _ = views(frames, mask)
    assert torch.equal(masked, alone)
    pair = {name: torch.cat((frame, frame)) for name, frame in frames.items()}
    batched, _ = views(pair, torch.cat((mask, ALL)))
    torch.testing.assert_close(batched[:1], alone, atol=2e-6, rtol=1e-5)


@torch.inference_mode()
def test_a_view_without_streams_is_zeros_and_not_present(views):
    frames = random_frames(2)
    tokens, present = views(frames, torch.cat((only("wrist/rgb"), ALL)))
    assert present.tolist() == [[False, True], [True, True]]
    assert (tokens[0, 0] == 0).all() and (tokens[0, 1] != 0).any()
    tokens, present = views(random_frames(), only("wrist/rgb"))
    assert present.tolist() == [[False, True]]
    assert (tokens[0, 0] == 0).all()


@torch.inference_mode()
def test_all_streams_may_be_masked(views):
    tokens, present = views({}, only())
    assert tokens.shape == (1, 2, 16, 64)
    assert (tokens == 0).all() and not present.any()


def test_gradients_reach_every_stream_in_use_and_no_other(views):
    mask = torch.cat((ALL, only("rgb", "wrist/thermal")))
    frames = {name: frame.requires_grad_() for name, frame in random_frames(2).items()}
    for name in NAMES:
        if not mask[1, NAMES.index(name)]:
            frames[name].data[1] = torch.nan
    tokens, _ = views(frames, mask)
    tokens.square().sum().backward()
    for i, name in enumerate(NAMES):
        reached = frames[name].grad.abs().amax(dim=(1, 2, 3)) > 0
        assert torch.equal(reached, mask[:, i]), name
    assert all(p.grad is not None and p.grad.isfinite().all() for p in views.parameters())


@pytest.mark.parametrize("kind", kinds())
@torch.inference_mode()
def test_the_views_are_told_apart(views, kind):
    """The same pictures, exchanged between the two cameras, are something else."""
    frames = random_frames()
    swapped = dict(frames)
    swapped[kind], swapped[f"wrist/{kind}"] = frames[f"wrist/{kind}"], frames[kind]
    assert (views(frames, ALL)[0] - views(swapped, ALL)[0]).abs().max() > 1e-3


@torch.inference_mode()
def test_a_view_sees_the_streams_of_the_other(views):
    """One attention over everything: the wrist's tokens change with the top camera's depth."""
    frames = random_frames()
    changed = {**frames, "depth": random_frames(seed=2)["depth"]}
    difference = (views(frames, ALL)[0] - views(changed, ALL)[0]).abs().amax(dim=(2, 3))
    assert (difference > 1e-5).all()


@torch.inference_mode()
def test_any_number_and_order_of_streams(views, fusion):
    """A table in another order, with the same weights, gives the same views in its own order."""
    backward = STREAMS[::-1]
    other = FourMViews(fused(fusion, backward)).eval()
    state = views.state_dict()
    state["view_embedding"] = state["view_embedding"].flip(0)
    other.load_state_dict(state)
    mask = only("rgb", "depth", "wrist/rgb")
    frames = random_frames()
    tokens, _ = views(frames, mask)
    reordered, _ = other(frames, mask.flip(1))
    torch.testing.assert_close(reordered.flip(1), tokens, atol=2e-6, rtol=1e-5)
    single = FourMViews(fused(fusion, STREAMS[2:3]))
    assert single({"thermal": frames["thermal"]}, torch.tensor([[True]]))[0].shape == (1, 1, 16, 64)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.pop("depth"), "stream 'depth' has no frame but is not masked"),
        (lambda f: f.update(radar=f["rgb"]), "unknown stream 'radar'; the model has rgb, depth"),
        (
            lambda f: f.update(depth=f["thermal"]),
            r"'depth' has shape \(1, 1, 32, 32\); expected \(1, 3",
        ),
    ],
)
def test_frames_that_do_not_fit_are_refused(views, change, message):
    frames = random_frames()
    change(frames)
    with pytest.raises(ValueError, match=message):
        views(frames, ALL)


def test_a_mask_of_another_table_is_refused(views):
    with pytest.raises(ValueError, match=r"mask has shape \(1, 3\); expected \(B, 8\)"):
        views(random_frames(), ALL[:, :3])


def golden_sized(streams: tuple[Stream, ...]) -> FourMViews:
    config = PolicyConfig(
        joints=SO101.joint_names,
        text=TextConfig(hidden_size=32),
        fourm=FourMConfig(64, 3, 4),
        streams=streams,
    )
    return FourMViews(config)


def test_the_encoder_can_start_from_released_weights():
    views = golden_sized(STREAMS)
    depth = views.patches["depth"].proj.weight.clone()
    initialise_views(views, WEIGHTS)
    stored = load_file(WEIGHTS)
    for key, value in views.blocks.state_dict().items():
        assert torch.equal(value, stored[key]), key
    rgb = "encoder_embeddings.rgb@224"
    assert torch.equal(views.patches["rgb"].proj.weight, stored[f"{rgb}.proj.weight"])
    assert torch.equal(views.kind_embedding["rgb"], stored[f"{rgb}.mod_emb"])
    assert torch.equal(views.pos_emb, stored[f"{rgb}.pos_emb"])
    assert torch.equal(views.patches["depth"].proj.weight, depth)


def test_released_weights_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"has shape \(.*64.*\); expected \(.*48.*\)"):
        initialise_views(FourMViews(CONFIG), WEIGHTS)


def test_a_table_without_rgb_starts_from_released_weights_too(tmp_path):
    views = golden_sized(STREAMS[1:3])
    stored = load_file(WEIGHTS)
    stored.pop("encoder_embeddings.rgb@224.proj.weight")
    save_file(stored, tmp_path / "model.safetensors")
    initialise_views(views, tmp_path)
    assert torch.equal(views.blocks.encoder_norm.weight, stored["encoder_norm.weight"])


def encoded_tokens(views: FourMViews, mask: torch.Tensor) -> int:
    """How many tokens the transformer reads."""
    seen = []
    handle = views.blocks.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[1]))
    with torch.no_grad():
        views(random_frames(len(mask)), mask)
    handle.remove()
    return sum(seen)


def test_streams_of_a_view_share_its_tokens_where_they_add_up_early():
    early, late = FourMViews(fused("early")), FourMViews(fused("late"))
    positions = (FOURM.image_size // FOURM.patch_size) ** 2
    assert encoded_tokens(late, ALL) == 8 * positions
    assert encoded_tokens(early, ALL) == 2 * positions
    assert encoded_tokens(early, only("rgb", "depth")) == positions
    assert early.state_dict().keys() == late.state_dict().keys()


@torch.inference_mode()
def test_the_two_fusions_agree_on_a_single_stream_per_view():
    """There is nothing to add up then."""
    torch.manual_seed(0)
    early, late = FourMViews(fused("early")).eval(), FourMViews(fused("late")).eval()
    early.load_state_dict(late.state_dict())
    one_each = torch.cat((only("depth", "wrist/rgb"), only("rgb"), only()))
    frames = random_frames(3)
    for mask in (one_each, one_each[:1].expand(3, -1)):
        torch.testing.assert_close(early(frames, mask), late(frames, mask), atol=2e-6, rtol=1e-5)
    both = only("depth", "rgb").expand(3, -1)
    assert (early(frames, both)[0] - late(frames, both)[0]).abs().max() > 1e-3
