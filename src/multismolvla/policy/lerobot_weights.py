"""Names, types and sizes of SmolVLA's weights, as LeRobot writes them and as they are here.

The sizes of the language model are in no file of a checkpoint: they follow from the tensors, but
for the width of a head and the heads of the vision tower.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from multismolvla.policy.config import SiglipConfig, TextConfig

WEIGHTS = "model.safetensors"
# Shape of a tensor by its name here; raises where there is none.
Shape = Callable[[str], torch.Size]
_VLM = "model.vlm_with_expert.vlm.model."
# The beginning of a name there -> here; the first that fits.
PREFIXES = {
    f"{_VLM}vision_model.embeddings.": "visual.tower.",
    f"{_VLM}vision_model.encoder.": "visual.tower.",
    f"{_VLM}vision_model.": "visual.tower.",
    f"{_VLM}connector.modality_projection.": "visual.",
    f"{_VLM}text_model.": "text.",
    "model.vlm_with_expert.lm_expert.": "expert.",
    "model.": "",
}
# Never used for actions.
UNUSED = "model.vlm_with_expert.vlm.lm_head."


def is_weight(name: str) -> bool:
    """Whether a tensor of LeRobot's file is part of the model as it acts."""
    return name.startswith("model.") and not name.startswith(UNUSED)


def ours(name: str) -> str:
    """LeRobot's name of a weight as ours."""
    for there, here in PREFIXES.items():
        if name.startswith(there):
            return here + name.removeprefix(there)
    return name


def theirs(name: str) -> str:
    """Our name of a weight as LeRobot's."""
    if name.startswith("visual.tower."):
        part = name.removeprefix("visual.tower.")
        group = part.partition(".")[0]
        between = {"layers": "encoder.", "post_layernorm": ""}.get(group, "embeddings.")
        return f"{_VLM}vision_model.{between}{part}"
    for there, here in list(PREFIXES.items())[3:]:
        if name.startswith(here):
            return there + name.removeprefix(here)
    raise AssertionError(name)


def dtype_of(name: str) -> torch.dtype:
    """bfloat16, but for what SmolVLA adds: projections, and layers built after the conversion."""
    if not name.startswith("model.vlm_with_expert."):
        return torch.float32
    layer, _, part = name.removeprefix("model.vlm_with_expert.lm_expert.layers.").partition(".")
    if layer.isdigit() and int(layer) % 2 and part.startswith(("self_attn.k_", "self_attn.v_")):
        return torch.float32
    return torch.bfloat16


def difference(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """The first tensor that is missing, unknown or of another shape, or ""."""
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            return f"missing tensor '{theirs(name)}'"
        if name not in expected:
            return f"unknown tensor '{theirs(name)}'"
        if found[name].shape != expected[name].shape:
            got, want = tuple(found[name].shape), tuple(expected[name].shape)
            return f"tensor '{theirs(name)}' has shape {got}; expected {want}"
    return ""


def count(shapes: Mapping[str, torch.Size], prefix: str) -> int:
    """How many layers there are under a name."""
    return len({n.removeprefix(prefix).partition(".")[0] for n in shapes if n.startswith(prefix)})


def text_sizes(shape: Shape, shapes: Mapping[str, torch.Size], head_dim: int) -> TextConfig:
    """Of the language model."""
    vocabulary, hidden = shape("text.embed_tokens.weight")
    return TextConfig(
        hidden_size=hidden,
        layers=count(shapes, "text.layers."),
        heads=shape("text.layers.0.self_attn.q_proj.weight")[0] // head_dim,
        kv_heads=shape("text.layers.0.self_attn.k_proj.weight")[0] // head_dim,
        head_dim=head_dim,
        intermediate_size=shape("text.layers.0.mlp.gate_proj.weight")[0],
        vocab_size=vocabulary,
    )


def vision_sizes(shape: Shape, shapes: Mapping[str, torch.Size], heads: int) -> SiglipConfig:
    """Of the vision tower and the connector behind it."""
    patches, width = shape("visual.tower.position_embedding.weight")
    patch_size = shape("visual.tower.patch_embedding.weight")[-1]
    return SiglipConfig(
        hidden_size=width,
        layers=count(shapes, "visual.tower.layers."),
        heads=heads,
        intermediate_size=shape("visual.tower.layers.0.mlp.fc1.weight")[0],
        image_size=math.isqrt(patches) * patch_size,
        patch_size=patch_size,
        shuffle=math.isqrt(shape("visual.proj.weight")[1] // width),
    )
