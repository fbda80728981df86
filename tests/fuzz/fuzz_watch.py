"""What a reader must not do with a bad input: end in a traceback, hang, or leave its folder."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

# Of the processor, so that a busy machine makes no difference.
LONGEST_S = 10.0
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = {"os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink"}
_CHANGES |= {"os.truncate", "os.chmod", "shutil.rmtree", "subprocess.Popen", "os.system"}
# What is being read; the hook, once set, cannot be taken away.
_folder: Path | None = None
_left: list[str] = []


class Finding(AssertionError):
    """A reader did what it must not do."""


class _Hang(BaseException):
    pass


def _hook(event: str, arguments: tuple) -> None:
    if _folder is None or (event != "open" and event not in _CHANGES):
        return
    path = arguments[0]
    if not isinstance(path, str | bytes | os.PathLike):
        return
    place = os.path.abspath(os.fsdecode(path))
    if Path(place).is_relative_to(_folder) or "__pycache__" in place:
        return
    # Reading elsewhere is what imports do; but nothing else lies beside the folder.
    beside = Path(place).is_relative_to(_folder.parent)
    changes = event != "open" or bool((arguments[2] or 0) & _WRITES)
    if beside or (changes and not place.startswith(("/dev/", "/proc/"))):
        _left.append(f"{event} {place}")


sys.addaudithook(_hook)


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    global _folder
    _folder = folder
    _left.clear()
    try:
        yield
    finally:
        _folder = None


@contextlib.contextmanager
def _in_time() -> Iterator[None]:
    def over(*_: object) -> None:
        raise _Hang

    before = signal.signal(signal.SIGPROF, over)
    signal.setitimer(signal.ITIMER_PROF, LONGEST_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.signal(signal.SIGPROF, before)


def judge(read: Callable[[Path], object], folder: Path, refuses: tuple[type, ...]) -> str:
    """Read; return the line of a refusal, or "" where the input was taken.

    Args:
        folder: all that `read` may open; it has a folder of its own around it.
        refuses: the errors that `read` documents.

    Raises:
        Finding: it did something else.
    """
    said = ""
    try:
        with _inside(folder.resolve()), _in_time():
            read(folder)
    except refuses as error:
        said = str(error)
        if not said.strip() or "\n" in said or "\r" in said:
            raise Finding(f"{type(error).__name__} says {said!r}; expected one line") from None
    except _Hang as hang:
        text = f"no end within {LONGEST_S:g} s of the processor, {_place(hang)}"
        raise Finding(text) from None
    except Exception as error:
        text = f"{type(error).__name__}, {_place(error)}: {str(error)[:200]}"
        raise Finding(text) from None
    if _left:
        raise Finding(f"it left its folder: {_left[0]}")
    return said


def _place(error: BaseException) -> str:
    """Where it was: the last line of this project, and the last of all."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "src/multismolvla" in frame.filename]
    lines = dict.fromkeys(
        f"{Path(frame.filename).name}:{frame.lineno} ({frame.name})"
        for frame in (*ours[-1:], frames[-1])
    )
    return "in " + ", ".join(lines)
