"""Parts of the model for inference on a CPU, where maps of the same input are one product.

Each takes the place of the module that it is made from, with the same calls and results.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from multismolvla.policy import fourm, siglip, text
from multismolvla.policy.fast_linear import fast_linear


class FusedAttention(nn.Module):
    """`text.Attention` of tokens that ask one another."""

    def __init__(self, attention: text.Attention, precision: str) -> None:
        super().__init__()
        self._head_dim = attention.head_dim
        projections = (attention.q_proj, attention.k_proj, attention.v_proj)
        self._heads = [projection.out_features // self._head_dim for projection in projections]
        self._qkv = fast_linear(precision, *projections)
        self.o_proj = fast_linear(precision, attention.o_proj)

    def rotated(self, x: Tensor, tables: text.Tables) -> tuple[Tensor, Tensor, Tensor]:
        query, key, _ = self._heads
        heads = self._qkv(x).unflatten(-1, (-1, self._head_dim)).transpose(1, 2)
        turned = text.rotate(heads[:, : query + key], tables)
        return turned[:, :query], turned[:, query:], heads[:, query + key :]


class FusedSwiGLU(nn.Module):
    """`text.SwiGLU` or `fourm.GatedMLP`; `down_precision` is that of the map back."""

    def __init__(
        self,
        gate: nn.Linear,
        up: nn.Linear,
        down: nn.Linear,
        precision: str,
        down_precision: str | None = None,
    ) -> None:
        super().__init__()
        self._gate_up = fast_linear(precision, gate, up)
        self._down = fast_linear(down_precision or precision, down)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self._gate_up(x).chunk(2, dim=-1)
        return self._down(F.silu(gate).mul_(up))


class FusedSiglipAttention(nn.Module):
    """`siglip.SiglipAttention`."""

    def __init__(self, attention: siglip.SiglipAttention, precision: str) -> None:
        super().__init__()
        self._heads = attention.heads
        self._qkv = fast_linear(precision, attention.q_proj, attention.k_proj, attention.v_proj)
        self._out = fast_linear(precision, attention.out_proj)

    def forward(self, x: Tensor) -> Tensor:
        qkv = self._qkv(x).unflatten(-1, (3, self._heads, -1)).permute(2, 0, 3, 1, 4)
        return self._out(F.scaled_dot_product_attention(*qkv).transpose(1, 2).flatten(2))


class FusedSiglipMLP(nn.Module):
    """`siglip.SiglipMLP`."""

    def __init__(self, mlp: siglip.SiglipMLP, precision: str) -> None:
        super().__init__()
        self._fc1 = fast_linear(precision, mlp.fc1, gelu=True)
        self._fc2 = fast_linear(precision, mlp.fc2)

    def forward(self, x: Tensor) -> Tensor:
        return self._fc2(self._fc1(x))


def fused(module: nn.Module, precision: str) -> nn.Module | None:
    """What takes the place of `module`, or None if it has no fused form."""
    if isinstance(module, siglip.SiglipAttention):
        return FusedSiglipAttention(module, precision)
    if isinstance(module, siglip.SiglipMLP):
        return FusedSiglipMLP(module, precision)
    if isinstance(module, text.SwiGLU):
        return FusedSwiGLU(module.gate_proj, module.up_proj, module.down_proj, precision)
    if isinstance(module, fourm.GatedMLP):
        return FusedSwiGLU(module.fc1, module.fc3, module.fc2, precision)
    return None
