"""Folders like those that LeRobot saves: the reference one with one thing changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

GOLDEN = Path(__file__).parent / "golden" / "smolvla_tiny"
PARTS = ("config.json", "model.safetensors", "vlm_config.json")
PRE, POST = "pre.safetensors", "post.safetensors"
# Beyond 100 degrees, so that the unit is beyond doubt; the gripper in per cent.
LOW = [-104.0, -90.0, -80.0, -70.0, -60.0, 0.0]
HIGH = [104.0, 10.0, 90.0, 80.0, 60.0, 100.0]
MEAN = [1.0, -40.0, 20.0, 30.0, 5.0, 40.0]
STD = [45.0, 30.0, 20.0, 25.0, 10.0, 30.0]
Q01 = [-101.0, -80.0, -70.0, -60.0, -50.0, 2.0]
Q99 = [102.0, 5.0, 80.0, 70.0, 50.0, 97.0]
Q10 = [-50.0, -60.0, -50.0, -40.0, -30.0, 10.0]
Q90 = [50.0, 0.0, 60.0, 60.0, 30.0, 90.0]
DEGREES = {
    "mean": MEAN,
    "std": STD,
    "min": LOW,
    "max": HIGH,
    "q01": Q01,
    "q99": Q99,
    "q10": Q10,
    "q90": Q90,
}


def statistics(
    prefix: str = "", both: Mapping[str, list[float]] = DEGREES, **others: Any
) -> dict[str, torch.Tensor]:
    """Tensors of state and action under a prefix, and further ones by name."""
    tensors = {
        f"{prefix}{feature}.{kind}": torch.tensor(values)
        for feature in ("observation.state", "action")
        for kind, values in both.items()
    }
    return tensors | {name: torch.tensor(values) for name, values in others.items()}


def lerobot_folder(
    folder: Path,
    mode: str = "MEAN_STD",
    tensors: Mapping[str, torch.Tensor] | None = None,
    config: Mapping[str, Any] | None = None,
    renames: Mapping[str, str] | None = None,
    steps: list[dict[str, Any]] | None = None,
) -> Path:
    """Write a folder.

    Args:
        mode: of states and actions.
        tensors: the statistics; those in degrees if not given.
        config: keys of `config.json` that are changed.
        renames: the preprocessor's map.
        steps: put before the preprocessor's own.
    """
    folder.mkdir(exist_ok=True)
    for name in PARTS:
        (folder / name).write_bytes((GOLDEN / name).read_bytes())
    settings = json.loads((folder / "config.json").read_text())
    mapping = {"VISUAL": "IDENTITY", "STATE": mode, "ACTION": mode}
    settings |= {"normalization_mapping": mapping, **(config or {})}
    (folder / "config.json").write_text(json.dumps(settings))
    norm = {"config": {"eps": 1e-8, "norm_map": mapping, "features": {}}}
    pre = [
        *(steps or []),
        {
            "registry_name": "rename_observations_processor",
            "config": {"rename_map": dict(renames or {})},
        },
        {"registry_name": "to_batch_processor", "config": {}},
        {"registry_name": "smolvla_new_line_processor", "config": {}},
        {"registry_name": "tokenizer_processor", "config": {"padding_side": "right"}},
        {"registry_name": "device_processor", "config": {"device": "cpu", "float_dtype": None}},
        {"registry_name": "normalizer_processor", **norm, "state_file": PRE},
    ]
    post = [
        {"registry_name": "unnormalizer_processor", **norm, "state_file": POST},
        {"registry_name": "device_processor", "config": {"device": "cpu", "float_dtype": None}},
    ]
    for name, content in (("policy_preprocessor", pre), ("policy_postprocessor", post)):
        text = json.dumps({"name": name, "steps": content})
        (folder / f"{name}.json").write_text(text)
    for name in (PRE, POST):
        save_file(dict(statistics() if tensors is None else tensors), folder / name)
    return folder
