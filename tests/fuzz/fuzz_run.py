"""Runs a reader over damaged inputs; a finding comes with the smallest input that shows it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from fuzz_damage import OUTSIDE
from fuzz_target import Target, write
from fuzz_watch import Finding, judge
from hypothesis import HealthCheck, Phase, given, seed, settings


def fuzz(
    target: Target, inputs: int, number: int, shrink: bool = True, count: Callable = lambda _: None
) -> None:
    """Show `inputs` damaged inputs to a reader.

    Args:
        number: the seed; the same inputs come with it.
        shrink: look for the smallest input that shows a finding.
        count: is called with the line of each refusal, "" for an input that was taken.

    Raises:
        Finding: the first one; its text says what was wrong and with which input.
    """
    refuses = target.refuses()
    phases = [Phase.explicit, Phase.generate, *([Phase.shrink] if shrink else [])]

    @seed(number)
    @settings(
        max_examples=inputs,
        deadline=None,
        database=None,
        phases=phases,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        print_blob=False,
    )
    @given(target.inputs())
    def one(value: object) -> None:
        try:
            count(shown(value))
        except Finding as finding:
            raise Finding(f"{finding}\n  input: {_described(value, target)}") from None

    def shown(value: object) -> str:
        with tempfile.TemporaryDirectory(prefix="fuzz_") as name:
            (Path(name) / OUTSIDE).write_text("not yours")
            folder = Path(name) / "input"
            folder.mkdir()
            if target.sound is not None:
                write(value, folder)
            return judge(lambda place: target.read(value, place), folder, refuses)

    # Damage shows nothing where what is sound is refused already.
    if target.sound is not None and (refusal := shown(target.sound())):
        raise Finding(f"the sound example is refused: {refusal}")
    one()


def _described(value: object, target: Target) -> str:
    """The input, of files only those that differ from the sound ones, at most some lines long."""
    if target.sound is not None:
        sound = target.sound()
        value = {name: data for name, data in value.items() if data != sound.get(name)}
    return repr(value)[:1500]
