"""What is read of the processor."""

import platform

import pytest

from multismolvla.processor import read_processor

XEON = """processor\t: 0
model name\t: Intel(R) Xeon(R) Processor
flags\t\t: fpu avx2 avx512f avx512_vnni avx512_bf16 amx_bf16 amx_tile amx_int8

processor\t: 1
model name\t: Another
flags\t\t: fpu
"""


def told(tmp_path, text):
    (tmp_path / "cpuinfo").write_text(text)
    return read_processor(tmp_path / "cpuinfo")


def test_the_first_processor_is_told_with_its_arithmetic(tmp_path):
    processor = told(tmp_path, XEON)
    assert processor.has_bfloat16 and processor.has_amx_bfloat16
    expected = (
        "Intel(R) Xeon(R) Processor (AVX-512, AVX-512 VNNI, AVX-512 BF16, AMX int8, AMX BF16)"
    )
    assert str(processor) == expected


@pytest.mark.parametrize(
    ("flags", "bfloat16", "amx"),
    [("avx2 avx512f avx512_vnni", False, False), ("avx512f avx512_bf16", True, False)],
)
def test_bfloat16_is_what_the_flags_say(tmp_path, flags, bfloat16, amx):
    processor = told(tmp_path, f"model name : x\nflags : {flags}\n")
    assert (processor.has_bfloat16, processor.has_amx_bfloat16) == (bfloat16, amx)


@pytest.mark.parametrize(
    ("flags", "has"), [("avx2", False), ("avx2 avx_vnni", False), ("avx512f avx512_vnni", True)]
)
def test_int8_is_summed_at_once_only_with_avx512_vnni(tmp_path, flags, has):
    (tmp_path / "cpuinfo").write_text(f"model name : x\nflags : {flags}\n")
    assert read_processor(tmp_path / "cpuinfo").has_int8_dot == has


def test_without_the_file_the_architecture_is_known(tmp_path):
    processor = read_processor(tmp_path / "absent")
    assert processor.name == platform.machine() and not processor.has_bfloat16
