"""Low-rank adapters on the language model's attention (LoRA, arXiv 2106.09685), by `peft`.

The adapters exist only while training: `merge_lora` adds them to the weights and removes every
trace, so a checkpoint holds plain weights and running a policy never needs `peft`.
"""

from __future__ import annotations

import re

from torch import nn

# Matched against names inside `model.text`, so that the expert's projections of the same names,
# which are trained in full, stay out.
TARGETS = r"layers\.\d+\.self_attn\.(q|k|v|o)_proj"


def add_lora(model: nn.Module, rank: int = 16, alpha: float = 32.0, dropout: float = 0.0) -> None:
    """Put adapters on the attention of `model.text`, in place.

    The adapters are the only parameters of `model.text` that train from now on; what trains outside
    it is left as it is. The output does not change until they are trained: they start at zero.

    Args:
        model: has the attribute `text` with `layers.N.self_attn.{q,k,v,o}_proj`, linear layers.
        rank: width of the bottleneck.
        alpha: the adapter's output is scaled by alpha / rank.
        dropout: probability on the adapter's input, in training mode.

    Raises:
        ValueError: `peft` is not installed, adapters are there already, or there is no such layer.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ValueError(f"LoRA needs peft ({error}); install it with 'pip install peft'") from None
    if _adapted(model):
        raise ValueError("the language model has LoRA adapters already; merge them first")
    if not any(re.fullmatch(TARGETS, name) for name, _ in model.text.named_modules()):
        raise ValueError("the language model has no layers.N.self_attn.{q,k,v,o}_proj for LoRA")
    config = LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=TARGETS, bias="none"
    )
    inject_adapter_in_model(config, model.text)


def merge_lora(model: nn.Module) -> None:
    """Add the adapters to the weights of `model.text` and remove them, in place.

    Keys and shapes are as before `add_lora`. The weights stay frozen.

    Raises:
        ValueError: there are no adapters, or merging one would give NaN or infinity.
    """
    adapted = _adapted(model)
    if not adapted:
        raise ValueError("the language model has no LoRA adapters to merge")
    for name, layer in adapted.items():
        layer.merge(safe_merge=True)
        model.text.set_submodule(name, layer.get_base_layer())
    del model.text.peft_config


def _adapted(model: nn.Module) -> dict[str, nn.Module]:
    """Name inside `model.text` -> layer, for every layer that `peft` has wrapped."""
    return {
        name: module for name, module in model.text.named_modules() if hasattr(module, "lora_A")
    }
