"""Linear layers that only infer, on a CPU: weights laid out once for the processor, in float32,
bfloat16 or int8.

The operators are those that torch's own compiler emits for frozen weights. Where a build of torch
or the processor lacks them (`is_available`), `nn.Linear` stays.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from multismolvla.processor import read_processor

PRECISIONS: tuple[str, ...] = ("float32", "int8", "bfloat16")


def is_available(precision: str) -> bool:
    """Whether torch and, for bfloat16, the processor have the operators for such weights."""
    if precision == "int8":
        return "x86" in torch.backends.quantized.supported_engines
    packs = torch.backends.mkldnn.is_available() and hasattr(
        torch.ops.mkldnn, "_reorder_linear_weight"
    )
    # torch also says yes where it would emulate bfloat16, which is slower than float32.
    return packs and (precision != "bfloat16" or read_processor().has_bfloat16)


def why_not(precision: str) -> str:
    """What is missing where `is_available` is False, for a person."""
    if precision == "bfloat16" and is_available("float32"):
        return "this processor has neither AMX nor AVX-512 BF16"
    return "this build of torch has no operators for it"


class PackedLinear(nn.Module):
    """The weight in oneDNN's blocked layout; in float32 differs from `F.linear` by rounding.

    Most of the gain in float32 is at few rows, where `F.linear` spends as long on laying the weight
    out. In bfloat16 inputs are rounded to 8 bits as well, sums are float32, and so is the bias.

    Args:
        weight: (N, K) float32, not kept; bias (N,) or None.
        gelu: applies the tanh form of GELU before the result leaves the processor's cache.
        dtype: of weight, inputs and results: float32 or bfloat16.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        gelu: bool = False,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.dtype = dtype
        with torch.no_grad():
            weight = weight.detach().to(dtype).contiguous()
            self._packed = torch.ops.mkldnn._reorder_linear_weight(weight)
        self._bias = None if bias is None else bias.detach().clone()
        self._after = ("gelu", [], "tanh") if gelu else ("none", [], "")

    def forward(self, x: Tensor) -> Tensor:
        """(..., K) of any type -> (..., N) of `dtype`."""
        return torch.ops.mkldnn._linear_pointwise(
            x.to(self.dtype), self._packed, self._bias, *self._after
        )


class Int8Linear(nn.Module):
    """Weights in int8 with one scale per output channel, inputs in uint8 with one per call.

    A quarter of the memory. Both roundings together leave about 0.7 % of error in an output, more
    where one channel of the input is far larger than the rest. A processor without VNNI adds pairs
    of products in 16 bits, which saturate: there inputs have 7 bits, and the error is twice as
    large instead of twenty times (torch calls it `reduce_range`).

    Args:
        as in `PackedLinear`.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, gelu: bool = False) -> None:
        super().__init__()
        weight = weight.detach()
        scales = weight.abs().amax(dim=1).clamp_min(torch.finfo(torch.float32).tiny) / 127
        zeros = torch.zeros(len(scales), dtype=torch.int32)
        with warnings.catch_warnings():
            # Quantised tensors are deprecated; torch is pinned, and they are gone after this line.
            warnings.simplefilter("ignore", UserWarning)
            quantised = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
        self._packed = torch.ops.quantized.linear_prepack(
            quantised, None if bias is None else bias.detach().clone()
        )
        self._gelu = gelu
        self._seven_bits = not read_processor().has_int8_dot

    def forward(self, x: Tensor) -> Tensor:
        """(..., K) -> (..., N)."""
        y = torch.ops.quantized.linear_dynamic(x, self._packed, self._seven_bits)
        # In place: as much memory again would cost more than the function.
        return torch.ops.aten.gelu_(y, approximate="tanh") if self._gelu else y


def fast_linear(
    precision: str, *linears: nn.Linear, gelu: bool = False
) -> PackedLinear | Int8Linear:
    """One layer for one linear map, or for several of the same input, outputs side by side."""
    weight = torch.cat([linear.weight for linear in linears])
    biases = [linear.bias for linear in linears if linear.bias is not None]
    bias = torch.cat(biases) if biases else None
    if precision == "int8":
        return Int8Linear(weight, bias, gelu)
    return PackedLinear(weight, bias, gelu, getattr(torch, precision))
