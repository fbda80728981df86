"""Which processor this is, and which cheap arithmetic it has in hardware."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")
# Flag of Linux on an x86 processor -> what a person calls it.
ARITHMETIC = {
    "avx512f": "AVX-512",
    "avx512_vnni": "AVX-512 VNNI",
    "avx_vnni": "AVX VNNI",
    "avx512_bf16": "AVX-512 BF16",
    "amx_int8": "AMX int8",
    "amx_bf16": "AMX BF16",
}


@dataclass(frozen=True)
class Processor:
    """What Linux says of the first processor.

    Attributes:
        name: its model name, or the architecture where Linux has none.
        flags: names of what it can do, as in /proc/cpuinfo.
    """

    name: str
    flags: frozenset[str]

    @property
    def arithmetic(self) -> tuple[str, ...]:
        """Which of `ARITHMETIC` it has."""
        return tuple(word for flag, word in ARITHMETIC.items() if flag in self.flags)

    @property
    def has_bfloat16(self) -> bool:
        """Whether it multiplies bfloat16 itself; emulated, it is slower than float32."""
        return bool(self.flags & {"amx_bf16", "avx512_bf16"})

    @property
    def has_amx_bfloat16(self) -> bool:
        """Whether it multiplies bfloat16 in tiles (AMX), several times as fast as float32."""
        return "amx_bf16" in self.flags

    @property
    def has_int8_dot(self) -> bool:
        """Whether it sums products of bytes in 32 bits at once; without, pairs saturate 16 bits."""
        return "avx512_vnni" in self.flags

    def __str__(self) -> str:
        return f"{self.name} ({', '.join(self.arithmetic) or 'no AVX-512'})"


def read_processor(cpu_info: Path = CPU_INFO) -> Processor:
    """Read /proc/cpuinfo; where there is none, only the architecture is known."""
    fields: dict[str, str] = {}
    try:
        for line in cpu_info.read_text().splitlines():
            key, _, value = line.partition(":")
            fields.setdefault(key.strip(), value.strip())
    except OSError:
        pass
    name = fields.get("model name") or platform.machine()
    return Processor(name, frozenset(fields.get("flags", "").split()))
