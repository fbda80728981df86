"""A checkpoint that LeRobot 0.4.4 itself fine-tuned and saved, on a data set that it made: the same
actions, from the image and the joints to the setpoints. `make.py` beside it is how it came."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from multismolvla.cli import main
from multismolvla.embodiment import lerobot_units
from multismolvla.embodiment.so101 import SO101
from multismolvla.policy.checkpoint_source import load_any_checkpoint
from multismolvla.policy.preprocessing import prepare_frame

GOLDEN = Path(__file__).parents[1] / "golden"
TUNED = GOLDEN / "smolvla_tuned"
CASE = load_file(TUNED / "golden.safetensors")
TASK = "put the red cube in the bin"


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """The folder as LeRobot saved it."""
    folder = tmp_path_factory.mktemp("tuned")
    for path in TUNED.iterdir():
        if path.name.startswith("policy_") or path.name in ("config.json", "tokenizer.json"):
            (folder / path.name).write_bytes(path.read_bytes())
    vlm = (GOLDEN / "smolvla_tiny" / "vlm_config.json").read_bytes()
    (folder / "vlm_config.json").write_bytes(vlm)
    weights = load_file(GOLDEN / "smolvla_tiny" / "model.safetensors")
    save_file(weights | load_file(TUNED / "changed.safetensors"), folder / "model.safetensors")
    return folder


def with_mode(folder: Path, mode: str) -> None:
    config = json.loads((folder / "config.json").read_text())
    mapping = {"VISUAL": "IDENTITY", "STATE": mode, "ACTION": mode}
    config["normalization_mapping"] = mapping
    (folder / "config.json").write_text(json.dumps(config))
    for name in ("policy_preprocessor.json", "policy_postprocessor.json"):
        content = json.loads((folder / name).read_text())
        for step in content["steps"]:
            if "state_file" in step:
                step["config"]["norm_map"] = mapping
        (folder / name).write_text(json.dumps(content))


@torch.no_grad()
@pytest.mark.parametrize("mode", ["MEAN_STD", "MIN_MAX", "QUANTILES", "QUANTILE10", "IDENTITY"])
def test_select_action_is_lerobots(saved, mode):
    with_mode(saved, mode)
    model, config, tokenizer, normalizer = load_any_checkpoint(saved, SO101, {"front": "rgb"})
    # `camera2` was in no data, and the empty camera stands for it.
    assert [stream.name for stream in config.streams] == ["rgb"]
    scale, offset = lerobot_units.to_radians(SO101)
    state = torch.from_numpy(CASE["state"].numpy() * scale + offset)
    image = prepare_frame(config.streams[0], CASE["image_u8"].movedim(0, -1).numpy(), config)
    language, mask = tokenizer.encode([TASK])
    prefix = model.prefix(
        {"rgb": image[None]},
        torch.ones(1, 1, dtype=torch.bool),
        language,
        mask,
        normalizer.normalize_state(state)[None],
    )
    found = normalizer.unnormalize_action(model.sample(prefix, CASE["noise"]))[0]
    expected = CASE[f"actions.{mode}"].numpy() * scale + offset
    # Radians; in the arithmetic of float32.
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_check_finds_the_camera_that_was_in_no_data(saved, capsys):
    assert main(["checkpoint", "check", str(saved), "--json"]) == 1
    content = json.loads(capsys.readouterr().out)
    (finding,) = content["findings"]
    assert finding["key"] == "input_features.observation.images.camera2"
    assert content["facts"]["cameras"] == ["front"]
    assert content["facts"]["joints in"] == "degrees"
