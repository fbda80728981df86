"""A short, seeded slice of `./run fuzz`, and that it would find what it looks for."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz_damage import OUTSIDE
from fuzz_readers import TARGETS
from fuzz_run import fuzz
from fuzz_watch import Finding, judge
from hypothesis import strategies as st

from multismolvla.streams import StreamTableError

QUICK = [name for name, target in TARGETS.items() if target.quick]


@pytest.mark.parametrize("name", QUICK)
def test_damaged_inputs_are_taken_or_refused_in_one_line(name):
    lines = []
    fuzz(TARGETS[name], inputs=25, number=18, shrink=False, count=lines.append)
    assert len(lines) >= 10


def crash(_):
    return [][0]


def no_word(_):
    raise ValueError("")


def two_lines(_):
    raise ValueError("one\ntwo")


def look_around(folder):
    return (folder / ".." / OUTSIDE).read_text()


def write_elsewhere(folder):
    (folder.parent / "new").write_text("")


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (crash, r"IndexError, in test_fuzz\.py"),
        (no_word, "expected one line"),
        (two_lines, "expected one line"),
        (look_around, "left its folder: open"),
        (write_elsewhere, "left its folder: open"),
    ],
)
def test_what_a_reader_must_not_do_is_a_finding(tmp_path, read, said):
    (tmp_path / OUTSIDE).write_text("")
    folder = tmp_path / "input"
    folder.mkdir()
    with pytest.raises(Finding, match=said):
        judge(read, folder, (ValueError,))


def test_a_hang_is_a_finding(tmp_path, monkeypatch):
    monkeypatch.setattr("fuzz_watch.LONGEST_S", 0.05)

    def endless(_):
        while True:
            pass

    with pytest.raises(Finding, match="no end within"):
        judge(endless, tmp_path, (ValueError,))


def test_a_refusal_and_a_reading_inside_are_none(tmp_path):
    (tmp_path / "a").write_text("b")
    assert judge(lambda folder: (folder / "a").read_text(), tmp_path, (ValueError,)) == ""
    assert judge(lambda _: int("x"), tmp_path, (ValueError,)).startswith("invalid literal")


def test_a_sound_example_that_is_refused_is_a_finding():
    def read(_: object, folder: Path) -> None:
        raise StreamTableError("no")

    with pytest.raises(Finding, match="the sound example is refused: no"):
        fuzz(TARGETS["streams"]._replace(read=read), inputs=1, number=0)


def test_a_finding_says_with_which_input():
    def read(value: int, _: Path) -> None:
        assert value < 5

    target = TARGETS["packets"]._replace(inputs=lambda: st.integers(0, 9), read=read)
    with pytest.raises(Finding, match=r"AssertionError(.|\n)*input: 5"):
        fuzz(target, inputs=50, number=0)
