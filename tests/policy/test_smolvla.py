"""Plain SmolVLA against reference tensors of LeRobot; tests/golden/README.md says how they came."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from multismolvla.embodiment.so101 import KINEMATICS, SO101
from multismolvla.policy.lerobot_checkpoint import (
    LeRobotCheckpointError,
    load_lerobot,
    save_lerobot,
)
from multismolvla.policy.model import MultiSmolVLA
from multismolvla.policy.preprocessing import prepare_frame
from multismolvla.streams import Stream

GOLDEN = Path(__file__).parents[1] / "golden" / "smolvla_tiny"
CASES = load_file(GOLDEN / "cases.safetensors")
NAMES = sorted({name.partition(".")[0] for name in CASES})
TOLERANCE = 1e-5


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.fixture(scope="module")
def two_cameras() -> MultiSmolVLA:
    return load_lerobot(GOLDEN, SO101, units="radians")[0]


def with_cameras(model: MultiSmolVLA, count: int) -> MultiSmolVLA:
    """The same weights behind another number of cameras: none of them belongs to a camera."""
    streams = tuple(Stream(f"camera{i + 1}/rgb", "rgb", 64, 64, 30.0, "c") for i in range(count))
    other = MultiSmolVLA(dataclasses.replace(model.config, streams=streams), KINEMATICS)
    other.load_state_dict(model.state_dict())
    return other


def prepared(model: MultiSmolVLA, stream: Stream, images: torch.Tensor) -> torch.Tensor:
    """Images (B, 3, H, W) uint8 as the model takes them."""
    return prepare_frame(stream, images.movedim(1, -1).numpy(), model.config)


def read(case: dict, model: MultiSmolVLA, **changes):
    frames = {
        stream.name: prepared(model, stream, case[f"{stream.view}_u8"])
        for stream in model.config.streams
        if f"{stream.view}_u8" in case
    }
    mask = torch.tensor([[stream.name in frames for stream in model.config.streams]])
    state = torch.nn.functional.pad(case["state"], (0, 32 - 6))
    arguments = {
        "frames": frames,
        "mask": mask,
        "language": case["lang_tokens"],
        "language_mask": case["lang_mask"],
        "state": state,
    }
    return model.prefix(**{**arguments, **changes})


def case_of(name: str) -> dict:
    return {key.partition(".")[2]: t for key, t in CASES.items() if key.startswith(f"{name}.")}


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_actions_are_lerobots(two_cameras, name):
    case = case_of(name)
    model = with_cameras(two_cameras, sum(key.endswith("_u8") for key in case))
    actions = model.sample(read(case, model), case["noise"])[..., :6]
    assert relative(actions, case["actions"]) < TOLERANCE


@torch.no_grad()
def test_every_step_on_the_way_is_lerobots(two_cameras):
    golden = load_file(GOLDEN / "golden.safetensors")
    case = {k.removeprefix("in."): t for k, t in golden.items() if k.startswith("in.")}
    for i, stream in enumerate(two_cameras.config.streams):
        images = prepared(two_cameras, stream, case[f"{stream.view}_u8"])
        assert relative(images, golden[f"mid.image_prepared{i}"]) < 1e-6
        if i == 0:
            patches = two_cameras.visual.tower(images)
            assert relative(patches, golden["mid.vision_last_hidden0"]) < TOLERANCE
        tokens = two_cameras.visual.encode(images) / two_cameras.visual.width**0.5
        assert relative(tokens, golden[f"mid.image_emb{i}"]) < TOLERANCE
    prefix = read(case, two_cameras)
    key, value = prefix.cache[0]
    assert relative(key.transpose(1, 2), golden["mid.k0"]) < TOLERANCE
    assert relative(value.transpose(1, 2), golden["mid.v0"]) < TOLERANCE
    for step in range(10):
        velocity = two_cameras.velocity(prefix, golden[f"mid.x_t{step}"], golden[f"mid.time{step}"])
        assert relative(velocity, golden[f"mid.v_t{step}"]) < TOLERANCE


@torch.no_grad()
def test_a_missing_camera_keeps_its_slot(two_cameras):
    case = case_of("three_cameras")
    model = with_cameras(two_cameras, 3)
    whole = read(case, model)
    without = read({k: t for k, t in case.items() if k != "camera1_u8"}, model)
    per_view = model.config.tokens_per_view
    assert without.mask[0, :per_view].sum() == 0
    assert torch.equal(without.mask[0, per_view:], whole.mask[0, per_view:])
    assert torch.equal(without.end, whole.end)
    # Before any attention, keys depend on token and position alone: none of the others has moved.
    key, expected = without.cache[0][0], whole.cache[0][0]
    assert torch.allclose(key[:, :, per_view:], expected[:, :, per_view:], atol=1e-6)


@torch.no_grad()
def test_padding_and_batching_change_nothing(two_cameras):
    long, short = case_of("long_instruction"), case_of("two_cameras")
    both = {
        "frames": {
            stream.name: torch.cat(
                [prepared(two_cameras, stream, c[f"{stream.view}_u8"]) for c in (long, short)]
            )
            for stream in two_cameras.config.streams
        },
        "mask": torch.ones(2, 2, dtype=torch.bool),
        "language": torch.cat((long["lang_tokens"], short["lang_tokens"])),
        "language_mask": torch.cat((long["lang_mask"], short["lang_mask"])),
        "state": torch.nn.functional.pad(torch.cat((long["state"], short["state"])), (0, 26)),
    }
    noise = torch.cat((long["noise"], short["noise"]))
    actions = two_cameras.sample(two_cameras.prefix(**both), noise)[..., :6]
    assert relative(actions, torch.cat((long["actions"], short["actions"]))) < TOLERANCE


def test_a_checkpoint_survives_the_round_trip(two_cameras, tmp_path):
    model, normalizer = load_lerobot(GOLDEN, SO101, units="radians")
    save_lerobot(tmp_path, model, normalizer)
    (tmp_path / "vlm_config.json").write_text((GOLDEN / "vlm_config.json").read_text())
    before, after = (
        load_file(GOLDEN / "model.safetensors"),
        load_file(tmp_path / "model.safetensors"),
    )
    kept = {name for name in before if "lm_head" not in name}
    assert after.keys() == kept
    for name in kept:
        assert after[name].dtype == before[name].dtype, name
        assert torch.equal(after[name], before[name]), name
    again, _ = load_lerobot(tmp_path, SO101, units="radians")
    assert again.config.text == model.config.text
    assert again.config.expert == model.config.expert


def test_statistics_in_degrees_become_radians(tmp_path):
    for path in GOLDEN.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    name = "normalizer.safetensors"
    save_file(
        {
            f"{key}.{part}": torch.full((6,), value)
            for key in ("observation.state", "action")
            for part, value in (("mean", 90.0), ("std", 45.0))
        },
        tmp_path / name,
    )
    config = (tmp_path / "config.json").read_text()
    for kind in ("STATE", "ACTION"):
        config = config.replace(f'"{kind}": "IDENTITY"', f'"{kind}": "MEAN_STD"')
    (tmp_path / "config.json").write_text(config)
    steps = {"name": "policy_preprocessor", "steps": [{"state_file": name}]}
    (tmp_path / "policy_preprocessor.json").write_text(json.dumps(steps))
    _, normalizer = load_lerobot(tmp_path, SO101)
    assert normalizer.state_mean[0] == pytest.approx(torch.pi / 2)
    assert normalizer.action_std[0] == pytest.approx(torch.pi / 4)
    # The gripper: 90 % of its range of -0.174533 to 1.745329 rad.
    assert normalizer.action_mean[5] == pytest.approx(-0.174533 + 0.9 * 1.919862, abs=1e-5)


def damaged(tmp_path: Path, name: str, content: bytes | None) -> Path:
    for path in GOLDEN.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("model.safetensors", None, "cannot be read"),
        ("model.safetensors", (GOLDEN / "model.safetensors").read_bytes()[:5000], "cannot be read"),
        ("config.json", b"{", "not valid JSON"),
        ("config.json", b'{"type": "act"}', "expected 'smolvla'"),
        ("config.json", b'{"type": "smolvla"}', "missing key"),
    ],
)
def test_a_damaged_checkpoint_is_one_clear_line(tmp_path, name, content, words):
    with pytest.raises(LeRobotCheckpointError, match=words) as raised:
        load_lerobot(damaged(tmp_path, name, content), SO101)
    assert name in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_tensor_is_named(tmp_path):
    folder = damaged(tmp_path, "none", b"")
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.state_proj.bias"]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(LeRobotCheckpointError, match=r"missing tensor 'model\.state_proj\.bias'"):
        load_lerobot(folder, SO101)
