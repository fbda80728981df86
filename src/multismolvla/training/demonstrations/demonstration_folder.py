"""The folder of a recording: whose episodes it holds, which are there, which are missing."""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

SETTINGS_FILE = "demos.json"
FAILED = "failed"


class DemonstrationsError(RuntimeError):
    """The recording cannot start or continue; one line."""


@dataclass(frozen=True)
class Settings:
    """Settings shared by the episodes of a folder; saved beside them."""

    seed: int
    noise: float
    streams: tuple[str, ...]
    policy: str
    expert_share: float
    stream_loss: float
    privileged: bool = False
    world: str = "tabletop"


@contextlib.contextmanager
def claimed_folder(out: Path, settings: Settings) -> Iterator[None]:
    """Lock the folder, check that its episodes have these settings, remove unfinished ones."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DemonstrationsError(f"{out}: another recording writes here") from None
        wanted = json.loads(json.dumps(asdict(settings)))
        path = out / SETTINGS_FILE
        if path.exists():
            found = json.loads(path.read_text())
            # The key had another name, and the oldest folders have none.
            found = {"privileged": found.pop("told", False), "world": "tabletop"} | found
            differing = [key for key, value in wanted.items() if found.get(key) != value]
            if differing:
                key = differing[0]
                raise DemonstrationsError(
                    f"{out}: its episodes have {key} {found.get(key)!r}, not {wanted[key]!r}; "
                    "choose another --out, or the same settings"
                )
        else:
            path.write_text(json.dumps(wanted, indent=2) + "\n")
        for rest in out.rglob(".writing-*"):
            shutil.rmtree(rest, ignore_errors=True)
        yield


class SeedPlan:
    """Which episodes of a task are still to be recorded."""

    def __init__(self, out: Path, task: str, first_seed: int, wanted: int) -> None:
        self.task = task
        self.wanted = wanted
        # Attempts that are done, and those of them that count.
        self.done = self.kept = 0
        self._out = out
        self._first = self._next = first_seed

    def seeds(self) -> Iterator[int]:
        """The next seeds, as many as would be enough if none of them failed."""
        while self._next - self._first - (self.done - self.kept) < self.wanted:
            seed = self._next
            self._next += 1
            kept = bag_folder(self._out, self.task, seed, True).exists()
            if kept or bag_folder(self._out, self.task, seed, False).exists():
                self.add(kept)
            else:
                yield seed

    def add(self, kept: bool) -> None:
        """Count an attempt."""
        self.done += 1
        self.kept += kept


def bag_folder(out: Path, task: str, seed: int, kept: bool) -> Path:
    """The folder of a seed's episode; failed episodes of the expert are kept apart."""
    return (out if kept else out / FAILED) / task / f"{seed:08d}"
