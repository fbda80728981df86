"""A reader that is shown damaged inputs: where they come from, how it is called, how it refuses."""

from __future__ import annotations

import functools
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from fuzz_damage import odd_files
from hypothesis import strategies as st


class Target(NamedTuple):
    """A reader.

    Attributes:
        inputs: gives the strategy of its inputs; called once, where it is fuzzed.
        read: takes an input and an empty folder.
        refuses: the errors that it documents, each one line.
        quick: an input takes milliseconds.
        sound: the files of the sound example; None where inputs are no files.
    """

    inputs: Callable[[], st.SearchStrategy]
    read: Callable[[object, Path], object]
    refuses: Callable[[], tuple[type, ...]]
    quick: bool = True
    sound: Callable[[], dict[str, bytes]] | None = None


def files(
    make: Callable[[Path], object],
    read: Callable[[Path], object],
    refuses: Callable[[], tuple[type, ...]],
    quick: bool = True,
) -> Target:
    """A reader of files: `make` writes sound ones into a folder, `read` is handed that folder."""

    @functools.cache
    def sound() -> dict[str, bytes]:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "sample"
            folder.mkdir()
            make(folder)
            return {
                str(path.relative_to(folder)): path.read_bytes()
                for path in sorted(folder.rglob("*"))
                if path.is_file()
            }

    def read_written(files: dict[str, bytes | None], folder: Path) -> object:
        return read(folder)

    return Target(lambda: odd_files(sound()), read_written, refuses, quick, sound)


def write(files: dict[str, bytes | None], folder: Path) -> None:
    """Write the files that are there."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if data is not None:
            path.write_bytes(data)


def copied(source: Path) -> Callable[[Path], object]:
    return lambda folder: shutil.copy(source, folder / source.name)
