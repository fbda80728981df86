"""The model at run time: one robot, one chunk at a time, nothing computed twice.

What it saves against calling the model:

- a masked stream is not encoded, nor does the language model read the empty slot of a lost view;
- a frame that is the last one over again is not encoded again;
- on a CPU, weights lie as the processor wants them and maps of the same input are one product;
  with `bfloat16` they take half of the memory, with `int8` a quarter.

That the prefix is read once for all steps of the flow, and projected once for the layers that only
read it, is the model's own doing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from multismolvla.policy.fast_linear import PRECISIONS, fast_linear, is_available, why_not
from multismolvla.policy.fused import FusedAttention, FusedSwiGLU, fused
from multismolvla.policy.model import MultiSmolVLA, Prefix
from multismolvla.policy.siglip import SiglipViews
from multismolvla.policy.solvers import Velocity


class InferenceEngine:
    """Has the model's `prefix` and `sample`, for a batch of one.

    One caller at a time. Threads of torch are the whole process's matter and left alone.

    Args:
        model: taken over. On a CPU its weights are replaced, one by one, so that none is there
            twice; it can neither be trained nor saved afterwards.
        precision: `float32` gives the model's actions up to rounding; `int8` is for an x86 CPU,
            `bfloat16` for one that multiplies it in hardware (AMX or AVX-512 BF16). The sum that
            each layer adds to, norms, time embedding, object tokens and the maps into and out of
            the model are float32 in all of them.
        differentiable: leave the expert's weights as they are, for a guide that differentiates the
            velocity, such as exact real-time chunking.

    Raises:
        ValueError: unknown precision, or one that this machine has no operators for.
    """

    def __init__(
        self,
        model: MultiSmolVLA,
        precision: str = "float32",
        *,
        differentiable: bool = False,
    ) -> None:
        if precision not in PRECISIONS:
            raise ValueError(f"precision is '{precision}'; expected one of {', '.join(PRECISIONS)}")
        device = next(model.parameters()).device
        self._model = model.eval().requires_grad_(False)
        if device.type == "cpu" and is_available(precision):
            _make_fast(model, precision, differentiable)
        elif precision != "float32":
            reason = why_not(precision) if device.type == "cpu" else f"{device.type} cannot"
            raise ValueError(f"precision is '{precision}', but {reason}; expected 'float32'")
        self._differentiable = differentiable
        # Streams that were encoded together -> their last frames, and what came of them.
        self._encoded: dict[tuple[str, ...], tuple[list[Tensor], tuple[Tensor, Tensor]]] = {}

    def prefix(
        self,
        frames: Mapping[str, Tensor],
        mask: Tensor,
        language: Tensor,
        language_mask: Tensor,
        state: Tensor,
    ) -> Prefix:
        """As the model's, of one sample.

        Args:
            frames: the same tensor as the last time stands for the same content and is not encoded
                again; do not write to it.
        """
        views, present = self._views(frames, mask)
        prefix = self._model.read(
            views, present, mask, language, language_mask, state, compact=True
        )
        if self._differentiable:
            # The expert that reads it is float32, whatever the rest is.
            cache = [(key.float(), value.float()) for key, value in prefix.cache]
            prefix = replace(prefix, cache=cache)
        return prefix

    def sample(
        self,
        prefix: Prefix,
        noise: Tensor,
        steps: int | None = None,
        solver: str | None = None,
        guide: Callable[[Velocity], Velocity] | None = None,
    ) -> Tensor:
        """As the model's."""
        return self._model.sample(prefix, noise, steps, solver, guide)

    def forget(self) -> None:
        """Let go of the last frames."""
        self._encoded.clear()

    def _views(self, frames: Mapping[str, Tensor], mask: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens of the views, and which exist, from what is remembered and what is new."""
        used = [i for i, usable in enumerate(mask[0].tolist()) if usable]
        # 4M's streams attend to one another: one new frame changes every token. SigLIP's do not.
        apart = used and isinstance(self._model.visual, SiglipViews)
        groups = [[i] for i in used] if apart else [used]
        tokens, present = zip(*(self._encode(frames, mask, group) for group in groups), strict=True)
        # What a group does not have is zero.
        return sum(tokens), sum(present).bool()

    def _encode(
        self, frames: Mapping[str, Tensor], mask: Tensor, group: list[int]
    ) -> tuple[Tensor, Tensor]:
        names = tuple(self._model.config.streams[i].name for i in group)
        given = [frames.get(name) for name in names]
        last, encoded = self._encoded.get(names, (None, None))
        if last is None or any(new is not old for new, old in zip(given, last, strict=True)):
            only = torch.zeros_like(mask)
            only[:, group] = True
            encoded = self._model.visual(frames, only)
            if len(names) > 1:
                # Of sets of streams, which come and go with the masks, the last one is kept.
                self._encoded.clear()
            self._encoded[names] = given, encoded
        return encoded


def _make_fast(model: MultiSmolVLA, precision: str, differentiable: bool) -> None:
    ask_one_another = list(model.text.layers[:-1])
    # Of the last layer only keys and values are read.
    last = model.text.layers[-1]
    last.self_attn.q_proj = last.self_attn.o_proj = last.mlp = None
    parts = [model.visual, model.text]
    for i, layer in enumerate(model.expert.layers):
        attention, mlp = layer.self_attn, layer.mlp
        if not model.expert.attends_to_actions(i):
            # What they read is the prefix, which no velocity is differentiated by.
            attention.k_proj = fast_linear(precision, attention.k_proj)
            attention.v_proj = fast_linear(precision, attention.v_proj)
        elif not differentiable:
            ask_one_another.append(layer)
        if not differentiable and precision == "int8":
            # What the map back reads has by far the largest outliers: in int8, it alone would add
            # more to the error of the actions than all others together.
            layer.mlp = FusedSwiGLU(mlp.gate_proj, mlp.up_proj, mlp.down_proj, "int8", "float32")
    if not differentiable:
        parts.append(model.expert)
    for layer in ask_one_another:
        layer.self_attn = FusedAttention(layer.self_attn, precision)
    for part in parts:
        _replace(part, precision)
    if not differentiable:
        # The maps into and out of the model are a thousandth of its work, and their rounding
        # would be in every action.
        for name, child in model.named_children():
            if isinstance(child, nn.Linear):
                setattr(model, name, fast_linear("float32", child))


def _replace(parent: nn.Module, precision: str) -> None:
    for name, child in parent.named_children():
        faster = fused(child, precision)
        if faster is None and isinstance(child, nn.Linear):
            faster = fast_linear(precision, child)
        if faster is None:
            _replace(child, precision)
        else:
            setattr(parent, name, faster)
