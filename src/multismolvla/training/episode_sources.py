"""Episodes wherever they come from, bags and LeRobot data sets, under one interface."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from multismolvla.data.bag import find_episodes, read_episode
from multismolvla.data.episode import Episode, EpisodeError


@dataclass(frozen=True)
class EpisodeSource:
    """An episode that can be read.

    Attributes:
        name: of the episode, unique within its folder.
        load: reads it; raises EpisodeError, one line.
    """

    name: str
    load: Callable[[], Episode]


def find_sources(folders: Sequence[Path]) -> list[EpisodeSource]:
    """Every episode below the folders.

    Raises:
        EpisodeError: there are none in one of them.
    """
    return [source for folder in folders for source in _sources(folder)]


def _sources(folder: Path) -> Iterator[EpisodeSource]:
    if not folder.is_dir():
        raise EpisodeError(f"{folder}: no such folder")
    bags = find_episodes(folder)
    if not bags:
        raise EpisodeError(f"{folder}: no episodes in it")
    for bag in bags:
        name = bag.relative_to(folder).as_posix() if bag != folder else folder.name
        yield EpisodeSource(name, lambda bag=bag: read_episode(bag))
