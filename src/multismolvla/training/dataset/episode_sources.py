"""Episodes wherever they come from, bags and LeRobot data sets, under one interface."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from multismolvla.data.bag import find_episodes, is_episode, read_episode
from multismolvla.data.episode import Episode, EpisodeError
from multismolvla.data.lerobot_reader import LeRobotReader, is_lerobot
from multismolvla.data.lerobot_set import NOTHING, Given
from multismolvla.embodiment.description import Embodiment, EmbodimentError
from multismolvla.modalities.conversion import from_counts, resize, to_counts
from multismolvla.modalities.registry import modality_of
from multismolvla.stack.command_options import stream_table_file
from multismolvla.stack.labeller import load_network
from multismolvla.stack.settings import load_settings
from multismolvla.streams import load_stream_table
from multismolvla.training.dataset.robot_bag import read_robot_bag


@dataclass(frozen=True)
class EpisodeSource:
    """An episode that can be read.

    Attributes:
        name: of the episode, unique within its folder.
        load: reads it; raises EpisodeError, one line.
        folder: that was searched; its episodes have the same streams.
        in_memory: it was read already, and may lack streams that others of its folder have.
    """

    name: str
    load: Callable[[], Episode]
    folder: Path
    in_memory: bool = False


@dataclass(frozen=True)
class ForeignData:
    """How recordings are to be understood that are not this package's own.

    Attributes:
        cameras: camera of the data set -> our stream; None where all data is ours.
        given: units and names of a LeRobot data set that does not say them.
        size: (height, width) that frames are brought to, by the code that the sensor nodes use.
        table: the stream table of a robot's bags; None for the installed one.
        namespace: of the topics of a robot's bags.
        labels: where the segmentation of a robot's bags comes from, see `open_recording`.
        config: settings of the stack that a robot's bags are shown to; None for the installed ones.
        topics: stream or other name -> topic, in bags of other stacks.
    """

    cameras: Mapping[str, str] | None = None
    given: Given = NOTHING
    size: tuple[int, int] | None = None
    table: Path | None = None
    namespace: str = ""
    labels: str = "auto"
    config: Path | None = None
    topics: Mapping[str, str] = field(default_factory=dict)

    def resize(self, stream: str, frame: np.ndarray) -> np.ndarray:
        if self.size is None:
            return frame
        modality = modality_of(stream)
        # In units, where a count that means 'no return' does not enter the mean of its neighbours.
        frame = resize(modality, from_counts(modality, frame), *self.size)
        return to_counts(modality, frame)


OURS = ForeignData()


def _to_stderr(line: str) -> None:
    print(f"warning: {line}", file=sys.stderr)


def find_sources(
    folders: Sequence[Path],
    embodiment: Embodiment,
    foreign: ForeignData = OURS,
    tell: Callable[[str], None] = _to_stderr,
) -> list[EpisodeSource]:
    """Every episode below the folders; reading one of another arm raises EpisodeError.

    Args:
        tell: is handed what is odd with a data set, and what was made of it, line by line.

    Raises:
        EpisodeError: there are none in one of them.
    """
    return [source for folder in folders for source in _sources(folder, embodiment, foreign, tell)]


def _sources(
    folder: Path, embodiment: Embodiment, foreign: ForeignData, tell: Callable[[str], None]
) -> Iterator[EpisodeSource]:
    if not folder.is_dir():
        raise EpisodeError(f"{folder}: no such folder")
    if is_lerobot(folder):
        reader = LeRobotReader(folder, embodiment, foreign.cameras, foreign.given, foreign.resize)
        for line in reader.warnings:
            tell(line)
        for number in range(len(reader)):
            name = f"{folder.name}/{reader.name(number)}"
            yield EpisodeSource(name, lambda number=number: reader.read(number), folder)
        return
    bags = find_episodes(folder)
    if not bags:
        raise EpisodeError(f"{folder}: no episodes in it")
    for bag in bags:
        name = bag.relative_to(folder).as_posix() if bag != folder else folder.name
        if is_episode(bag):
            yield EpisodeSource(name, partial(_read, bag, embodiment), folder)
        else:
            # A robot's bag may hold several episodes; there are few of them, so it is read now.
            settings = load_settings(foreign.config)
            table = load_stream_table(stream_table_file(foreign.table, settings))
            network = partial(load_network, settings.labeller.model)
            episodes = read_robot_bag(
                bag,
                table,
                embodiment,
                foreign.namespace,
                foreign.labels,
                network,
                settings,
                foreign.topics,
            )
            for note in episodes[0].meta.get("notes", ()):
                tell(f"{bag}: {note}")
            for number, episode in enumerate(episodes):
                load = partial(_itself, episode)
                yield EpisodeSource(f"{name}-{number}", load, folder, in_memory=True)


def _read(bag: Path, embodiment: Embodiment) -> Episode:
    episode = read_episode(bag)
    try:
        embodiment.check_data(episode.joints, episode.action_names, str(bag))
    except EmbodimentError as error:
        raise EpisodeError(str(error)) from None
    return episode


def _itself(episode: Episode) -> Episode:
    return episode
