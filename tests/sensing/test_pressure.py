"""The kernel's pressure figures, since a mark."""

import pytest

from multismolvla.sensing.pressure import FRESH_NS, CpuPressure, PressureMeter


class Kernel:
    """A file as the kernel writes it, and a clock, both driven by hand."""

    def __init__(self, tmp_path) -> None:
        self.file, self.now_ns = tmp_path / "cpu", 0
        self.write(5_000_000)
        self.meter = PressureMeter(self.file, lambda: self.now_ns)

    def write(self, total_us: int) -> None:
        some = f"some avg10=1.00 avg60=2.00 avg300=3.00 total={total_us}"
        self.file.write_text(f"{some}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n")
        self.now_ns += FRESH_NS


def test_what_was_waited_counts_from_the_mark_of_each(tmp_path):
    kernel = Kernel(tmp_path)
    first, second = CpuPressure(kernel.meter), CpuPressure(kernel.meter)
    kernel.write(5_060_000)
    assert first.waited_s() == pytest.approx(0.06)
    first.mark()
    assert first.waited_s() == 0.0
    kernel.write(5_085_000)
    assert first.waited_s() == pytest.approx(0.025)
    assert second.waited_s() == pytest.approx(0.085)


def test_what_comes_together_is_one_reading(tmp_path):
    kernel = Kernel(tmp_path)
    pressure = CpuPressure(kernel.meter)
    kernel.write(6_000_000)
    kernel.now_ns -= 1
    assert pressure.waited_s() == 0.0
    kernel.now_ns += 1
    assert pressure.waited_s() == 1.0


@pytest.mark.parametrize("content", [None, "", "some avg10=1.00 total=much", "nonsense"])
def test_a_machine_that_does_not_say_keeps_nobody_waiting(tmp_path, content):
    file = tmp_path / "cpu"
    if content is not None:
        file.write_text(content)
    pressure = CpuPressure(PressureMeter(file))
    pressure.mark()
    assert pressure.waited_s() == 0.0


def test_a_counter_that_starts_over_is_no_wait(tmp_path):
    kernel = Kernel(tmp_path)
    pressure = CpuPressure(kernel.meter)
    kernel.write(0)
    assert pressure.waited_s() == 0.0
