"""The kernel's pressure figures, since a mark."""

import pytest

from multismolvla.sensing.pressure import CpuPressure


def write(file, total_us: int) -> None:
    """As the kernel writes it."""
    some = f"some avg10=1.00 avg60=2.00 avg300=3.00 total={total_us}"
    file.write_text(f"{some}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n")


def test_what_was_waited_counts_from_the_mark(tmp_path):
    file = tmp_path / "cpu"
    write(file, 5_000_000)
    pressure = CpuPressure(file)
    write(file, 5_060_000)
    assert pressure.waited_s() == pytest.approx(0.06)
    pressure.mark()
    assert pressure.waited_s() == 0.0
    write(file, 5_085_000)
    assert pressure.waited_s() == pytest.approx(0.025)


@pytest.mark.parametrize("content", [None, "", "some avg10=1.00 total=much", "nonsense"])
def test_a_machine_that_does_not_say_keeps_nobody_waiting(tmp_path, content):
    file = tmp_path / "cpu"
    if content is not None:
        file.write_text(content)
    pressure = CpuPressure(file)
    pressure.mark()
    assert pressure.waited_s() == 0.0


def test_a_counter_that_starts_over_is_no_wait(tmp_path):
    file = tmp_path / "cpu"
    write(file, 1_000)
    pressure = CpuPressure(file)
    write(file, 0)
    assert pressure.waited_s() == 0.0
