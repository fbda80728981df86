"""The kernel's pressure figures, read over a window of beats."""

from multismolvla.sensing.pressure import CONTENDED, CpuPressure

MS = 1_000_000


class Kernel:
    """A file as the kernel writes it, and a clock, both driven by hand."""

    def __init__(self, tmp_path) -> None:
        self.file = tmp_path / "cpu"
        self.now_ns = self.waited_us = 0
        self.go(0, 0)

    def go(self, ms: int, waited_ms: int) -> None:
        self.now_ns += ms * MS
        self.waited_us += waited_ms * 1000
        some = f"some avg10=1.00 avg60=2.00 avg300=3.00 total={self.waited_us}"
        self.file.write_text(f"{some}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n")

    def pressure(self) -> CpuPressure:
        return CpuPressure(self.file, lambda: self.now_ns)


def test_the_share_is_that_since_the_last_beat_but_one(tmp_path):
    kernel = Kernel(tmp_path)
    pressure = kernel.pressure()
    kernel.go(200, 200)
    pressure.tick()
    kernel.go(200, 50)
    pressure.tick()
    kernel.go(100, 25)
    # 75 of 300 ms; what was before the last beat but one is over.
    assert pressure.share() == 0.25 and not pressure.contended


def test_contended_processors_show_at_once(tmp_path):
    kernel = Kernel(tmp_path)
    pressure = kernel.pressure()
    for _ in range(5):
        kernel.go(200, 10)
        pressure.tick()
    for _ in range(8):
        kernel.go(200, 200)
        pressure.tick()
    assert pressure.share() >= CONTENDED and pressure.contended


def test_a_machine_that_does_not_say_is_not_contended(tmp_path):
    for content in (None, "", "some avg10=1.00 total=much", "nonsense"):
        file = tmp_path / "none"
        if content is not None:
            file.write_text(content)
        pressure = CpuPressure(file)
        pressure.tick()
        assert pressure.share() == 0.0 and not pressure.contended


def test_a_counter_that_starts_over_is_no_pressure(tmp_path):
    kernel = Kernel(tmp_path)
    kernel.go(1, 1000)
    pressure = kernel.pressure()
    kernel.waited_us = 0
    kernel.go(200, 0)
    assert pressure.share() == 0.0
