"""Weights of a LeRobot policy that was fine-tuned with PEFT: an adapter beside the policy's name.

The folder has `adapter_config.json` and `adapter_model.safetensors` in place of the weights. What
LoRA adds is merged into them, as PEFT's `merge_and_unload` does; other adapters are refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from multismolvla.policy.lerobot_config import LeRobotCheckpointError, read_json
from multismolvla.policy.lerobot_pipeline import read_tensors
from multismolvla.policy.lerobot_weights import WEIGHTS

CONFIG, ADAPTER = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."
_A, _B = ".lora_A.weight", ".lora_B.weight"
# Key -> the values with which the merge is a sum of two matrices.
_PLAIN: dict[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "use_dora": (False, None),
    "bias": ("none", None),
    "fan_in_fan_out": (False, None),
    "rank_pattern": ({}, None),
    "alpha_pattern": ({}, None),
    "lora_bias": (False, None),
    "layer_replication": (None,),
}


def is_adapter(folder: Path) -> bool:
    """Whether the folder holds an adapter without the policy's weights."""
    return (folder / CONFIG).is_file() and not (folder / WEIGHTS).is_file()


def merged_weights(folder: Path, resolve: Callable[[str], Path]) -> dict[str, Tensor]:
    """The policy's tensors with the adapter in them.

    Args:
        resolve: from the policy's path or hub id, as the adapter names it, to its folder.

    Raises:
        LeRobotCheckpointError: the adapter is of another kind, the policy that it changes is not
            there, or the two do not fit.
    """
    where = folder / CONFIG
    config = read_json(where)
    for key, allowed in _PLAIN.items():
        value = config.get(key, allowed[-1])
        if value not in allowed:
            raise LeRobotCheckpointError(
                f"{where}: {key} is {value!r}; expected {allowed[0]!r}; merge it in LeRobot with "
                "merge_and_unload() of PEFT and save the policy"
            )
    scale = _scale(config, where)
    name = config.get("base_model_name_or_path")
    if not isinstance(name, str) or not name:
        raise LeRobotCheckpointError(
            f"{where}: base_model_name_or_path is {name!r}; expected the policy that was fine-tuned"
        )
    try:
        base = folder / name if (folder / name / WEIGHTS).is_file() else resolve(name)
    except ValueError as cause:
        raise LeRobotCheckpointError(f"{where}: base_model_name_or_path: {cause}") from None
    weights = read_tensors(base / WEIGHTS)
    changes = read_tensors(folder / ADAPTER)
    for key, tensor in changes.items():
        module = key.removeprefix(_PREFIX)
        if key.endswith(_B):
            continue
        # What is saved whole replaces, what has two factors is added.
        target = module.removesuffix(_A) + ".weight" if key.endswith(_A) else module
        if target not in weights:
            raise LeRobotCheckpointError(
                f"{folder / ADAPTER}: changes '{module}', which {base / WEIGHTS} does not have"
            )
        change = tensor.float()
        if key.endswith(_A):
            second = changes.get(key.removesuffix(_A) + _B)
            if second is None or second.ndim != 2 or second.shape[-1] != tensor.shape[0]:
                raise LeRobotCheckpointError(
                    f"{folder / ADAPTER}: '{module}' has no fitting lora_B"
                )
            change = scale * second.float() @ change
        if change.shape != weights[target].shape:
            raise LeRobotCheckpointError(
                f"{folder / ADAPTER}: '{module}' makes {list(change.shape)} of {target}; expected "
                f"{list(weights[target].shape)}"
            )
        weights[target] = weights[target].float() + change if key.endswith(_A) else change
    return weights


def _scale(config: dict[str, Any], where: Path) -> float:
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if type(rank) is not int or rank < 1:
        raise LeRobotCheckpointError(f"{where}: r is {rank!r}; expected a whole number")
    if type(alpha) not in (int, float):
        raise LeRobotCheckpointError(f"{where}: lora_alpha is {alpha!r}; expected a number")
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
