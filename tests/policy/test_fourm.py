"""The 4M-21 encoder against apple/ml-4m's own outputs, and the loading of its weights."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from multismolvla.policy.base_model import load_encoder
from multismolvla.policy.config import ConfigError, FourMConfig
from multismolvla.policy.fourm import (
    MODALITIES,
    FourMBlocks,
    FourMEncoder,
    grid_positions,
)

FOLDER = Path(__file__).parents[1] / "golden" / "fourm_tiny"
WEIGHTS = FOLDER / "encoder.safetensors"
CONFIG = FourMConfig(dim=64, depth=3, heads=4)
RGB, DEPTH, SEMSEG, GLOBAL = (
    "rgb@224",
    "tok_depth@224",
    "tok_semseg@224",
    "tok_imagebind_global",
)
FOUR = (RGB, DEPTH, SEMSEG, GLOBAL)


def empty_encoder() -> FourMEncoder:
    """The golden encoder's sizes; its vocabularies are cut to the tokens that the inputs use."""
    weights = load_file(WEIGHTS)
    cut = {}
    for name, modality in MODALITIES.items():
        table = weights.get(f"encoder_embeddings.{name}.token_emb.weight")
        cut[name] = modality if table is None else replace(modality, vocabulary=len(table))
    return FourMEncoder(CONFIG, cut).eval()


@pytest.fixture(scope="module")
def encoder() -> FourMEncoder:
    model = empty_encoder()
    load_encoder(model, WEIGHTS)
    return model


@pytest.fixture(scope="module")
def golden() -> dict[str, torch.Tensor]:
    return load_file(FOLDER / "golden.safetensors")


def inputs(golden, *names) -> dict[str, torch.Tensor]:
    return {name: golden[f"in.{name}"] for name in names}


def relative_error(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return float((actual - expected).norm() / expected.norm())


@pytest.mark.parametrize(
    ("case", "modalities"), [("rgb", (RGB,)), ("four", FOUR), ("all", tuple(MODALITIES))]
)
@torch.inference_mode()
def test_the_outputs_are_those_of_the_reference(encoder, golden, case, modalities):
    output = encoder.encode(inputs(golden, *modalities))
    assert relative_error(output, golden[f"out.{case}"]) < 1e-5


@torch.inference_mode()
def test_a_masked_modality_is_a_missing_one(encoder, golden):
    present = torch.tensor([[True, False, True, False]])
    masked = encoder.encode(inputs(golden, *FOUR), present)
    missing = encoder.encode(inputs(golden, RGB, SEMSEG))
    kept = torch.cat((masked[:, :196], masked[:, 392:588]), dim=1)
    assert relative_error(kept, missing) < 2e-6


@torch.inference_mode()
def test_the_order_of_modalities_does_not_matter(encoder, golden):
    forward = encoder.encode(inputs(golden, RGB, GLOBAL))
    backward = encoder.encode(inputs(golden, GLOBAL, RGB))
    assert relative_error(backward[:, 16:], forward[:, :196]) < 2e-6
    assert relative_error(backward[:, :16], forward[:, 196:]) < 2e-6


def test_our_grid_positions_are_the_stored_ones():
    stored = load_file(WEIGHTS)
    for name, side in ((RGB, 14), ("tok_imagebind@224", 16)):
        expected = stored[f"encoder_embeddings.{name}.pos_emb"]
        torch.testing.assert_close(grid_positions(side, 64), expected, atol=1e-6, rtol=0)


def test_an_image_of_another_size_is_refused(encoder, golden):
    with pytest.raises(ValueError, match=r"gives 49 tokens; expected 196"):
        encoder.encode({RGB: golden[f"in.{RGB}"][:, :, :112, :112]})


@pytest.mark.parametrize(
    ("size", "millions"),
    [((768, 12, 12), 84.95), ((1024, 24, 16), 302.2), ((2048, 24, 32), 1208.4)],
)
def test_the_released_sizes(size, millions):
    with torch.device("meta"):
        blocks = FourMBlocks(FourMConfig(*size))
    # Per layer 4 d^2 for attention and 3 d (8 d / 3) for the MLP.
    assert sum(p.numel() for p in blocks.parameters()) / 1e6 == pytest.approx(millions, rel=1e-3)


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ConfigError, match=r"fourm\.dim is 64; expected a multiple of 4 and of 5"):
        FourMBlocks(replace(CONFIG, heads=5))


# What a weights file can have wrong: how to break it, and what the one line must say.
BREAKS = {
    "missing": (
        lambda w: w.pop("encoder.1.attn.qkv.weight"),
        r"missing key encoder\.1\.attn\.qkv\.weight; expected shape \(192, 64\)",
    ),
    "wrong shape": (
        lambda w: w.update({"encoder_norm.weight": torch.ones(32)}),
        r"encoder_norm\.weight has shape \(32,\); expected \(64,\)",
    ),
    "more layers": (
        lambda w: w.update({"encoder.3.norm1.weight": torch.ones(64)}),
        r"unexpected key encoder\.3\.norm1\.weight",
    ),
    "query norm": (
        lambda w: w.update({"encoder.0.attn.q_norm.weight": torch.ones(16)}),
        r"unexpected key encoder\.0\.attn\.q_norm\.weight",
    ),
    "bias": (
        lambda w: w.update({"encoder.0.norm1.bias": torch.ones(64)}),
        r"unexpected key encoder\.0\.norm1\.bias",
    ),
}


@pytest.mark.parametrize("case", BREAKS)
def test_weights_that_do_not_fit_are_one_clear_line(tmp_path, case):
    damage, message = BREAKS[case]
    weights = load_file(WEIGHTS)
    damage(weights)
    file = tmp_path / "model.safetensors"
    save_file(weights, file)
    encoder = empty_encoder()
    before = encoder.encoder_norm.weight.clone()
    with pytest.raises(ValueError, match=message) as caught:
        load_encoder(encoder, tmp_path)
    assert str(file) in str(caught.value) and "\n" not in str(caught.value)
    assert torch.equal(encoder.encoder_norm.weight, before)


def test_a_truncated_file_is_one_clear_line(tmp_path):
    file = tmp_path / "model.safetensors"
    file.write_bytes(WEIGHTS.read_bytes()[:100_000])
    with pytest.raises(ValueError, match="a truncated or damaged safetensors file") as caught:
        load_encoder(empty_encoder(), file)
    assert str(file) in str(caught.value) and "\n" not in str(caught.value)


def test_a_folder_without_weights_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no safetensors file"):
        load_encoder(empty_encoder(), tmp_path)


def test_shared_modality_embeddings_are_found_with_the_decoder(tmp_path, encoder, golden):
    weights = load_file(WEIGHTS)
    shared = weights.pop(f"encoder_embeddings.{DEPTH}.mod_emb")
    weights[f"decoder_embeddings.{DEPTH}.mod_emb"] = shared
    save_file(weights, tmp_path / "model.safetensors")
    model = empty_encoder()
    load_encoder(model, tmp_path)
    assert torch.equal(model.encoder_embeddings[DEPTH].mod_emb, shared)


def test_weights_in_several_files_and_from_a_hub(tmp_path):
    weights = load_file(WEIGHTS)
    weights["decoder.0.norm1.weight"] = torch.ones(1)  # whatever the encoder has no use for
    halves = sorted(weights)[::2], sorted(weights)[1::2]
    for number, keys in enumerate(halves):
        save_file({k: weights[k] for k in keys}, tmp_path / f"model-{number}.safetensors")
    model = empty_encoder()
    load_encoder(model, "somebody/4M", {"somebody/4M": tmp_path}.__getitem__)
    for key, value in model.state_dict().items():
        assert torch.equal(value, weights[key]), key


def test_a_hub_that_cannot_be_reached_is_one_clear_line():
    def unreachable(hub_id: str) -> Path:
        raise ConnectionError("no route to host\nand much more")

    with pytest.raises(ValueError, match=r"^somebody/4M: no such file or folder.* no route to ho"):
        load_encoder(empty_encoder(), "somebody/4M", unreachable)
