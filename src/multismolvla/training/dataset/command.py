"""Looks at recorded episodes, makes a training cache of them, converts them."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from multismolvla.argument_types import add_embodiment, add_topics, positive
from multismolvla.data.bag import write_episode
from multismolvla.data.cache import CacheError
from multismolvla.data.cache_writer import CacheWriter
from multismolvla.data.episode import Episode, EpisodeError
from multismolvla.data.lerobot_writer import LeRobotWriter
from multismolvla.sim.libero import package
from multismolvla.sim.libero.tasks import official_places
from multismolvla.stack.command_options import add_config, add_streams
from multismolvla.training.dataset import check
from multismolvla.training.dataset.episode_sources import EpisodeSource, ForeignData, find_sources
from multismolvla.training.dataset.given import add_given, given_of
from multismolvla.training.progress_line import ProgressLine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="dataset_command", required=True, metavar="COMMAND")

    info = commands.add_parser("info", help="what is in a folder of episodes")
    _add_sources(info)
    info.set_defaults(run=_info)

    cache = commands.add_parser("cache", help="memory-mapped arrays for training")
    _add_sources(cache)
    cache.add_argument("--out", type=Path, default=Path("data/cache"), metavar="DIR")
    cache.add_argument(
        "--every", type=positive, default=1, metavar="N", help="keep every n-th camera instant"
    )
    cache.add_argument(
        "--only",
        nargs="+",
        metavar="STREAM",
        default=["all"],
        help="streams to keep; 'all', or 'none' to keep everything but frames",
    )
    cache.add_argument(
        "--validation-share",
        type=float,
        default=0.05,
        metavar="X",
        help="share of the episodes for validation (default: 0.05)",
    )
    cache.add_argument(
        "--keep-failed",
        action="store_true",
        help="also episodes in which the expert failed; a learner's failures are always kept",
    )
    cache.set_defaults(run=_cache)

    for name, run, text in (
        ("to-lerobot", _to_lerobot, "write a LeRobot data set v3.0"),
        ("to-mcap", _to_mcap, "write rosbag2 bags"),
    ):
        convert = commands.add_parser(name, help=text)
        _add_sources(convert)
        convert.add_argument("--out", type=Path, required=True, metavar="DIR")
        convert.set_defaults(run=run)

    judge = commands.add_parser(
        "check", help="report everything that is wrong or odd in a LeRobot data set"
    )
    check.add_arguments(judge)
    judge.set_defaults(run=check.main)


def main(args: argparse.Namespace) -> int:
    try:
        return args.run(args)
    except (CacheError, EpisodeError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; unfinished output was deleted", file=sys.stderr)
        return 130


def _add_sources(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "sources",
        nargs="+",
        type=Path,
        metavar="SOURCE",
        help="folder of bags, or a LeRobot data set v3.0",
    )
    add_embodiment(parser)
    foreign = parser.add_argument_group("LeRobot data sets of others")
    foreign.add_argument(
        "--cameras",
        nargs="+",
        type=_pair,
        metavar="CAMERA=STREAM",
        help="for example front=rgb wrist=wrist/rgb; streams without a camera are masked",
    )
    add_given(foreign)
    foreign.add_argument(
        "--size",
        nargs=2,
        type=positive,
        metavar=("H", "W"),
        help="bring frames to this size, for example 96 96",
    )
    robot = parser.add_argument_group("bags of a robot")
    add_config(robot)
    add_streams(robot)
    robot.add_argument(
        "--namespace", default="", metavar="NS", help="namespace of the recorded topics"
    )
    add_topics(robot)
    robot.add_argument(
        "--labels",
        choices=("auto", "recorded", "network"),
        default="auto",
        help="where segmentation comes from (default: the network, unless labels were recorded)",
    )


def _pair(text: str) -> tuple[str, str]:
    camera, equals, stream = text.partition("=")
    if not (camera and equals and stream):
        raise argparse.ArgumentTypeError(f"'{text}' is not CAMERA=STREAM")
    return camera, stream


def _sources(args: argparse.Namespace) -> list[EpisodeSource]:
    cameras = dict(args.cameras) if args.cameras else None
    size = tuple(args.size) if args.size else None
    robot = args.streams, args.namespace, args.labels, args.config
    foreign = ForeignData(cameras, given_of(args), size, *robot, topics=dict(args.topics))
    return find_sources(args.sources, args.embodiment, foreign)


def _loaded(title: str, sources: Sequence[EpisodeSource]) -> Iterator[tuple[str, Episode]]:
    with ProgressLine(title, len(sources)) as line:
        for number, source in enumerate(sources, 1):
            yield source.name, source.load()
            line.update(number)


def _info(args: argparse.Namespace) -> int:
    episodes, successes, steps = Counter(), Counter(), Counter()
    streams: dict[str, tuple[int, ...]] = {}
    for _, episode in _loaded("reading", _sources(args)):
        episodes[episode.instruction] += 1
        successes[episode.instruction] += episode.success
        steps[episode.instruction] += len(episode)
        streams |= {name: frames.shape[1:] for name, frames in episode.frames.items()}
    for instruction in sorted(episodes):
        print(
            f"{episodes[instruction]:5d} episodes, {successes[instruction]:5d} succeeded, "
            f"{steps[instruction] / episodes[instruction]:5.0f} steps on average: {instruction}"
        )
    print(f"{sum(episodes.values()):5d} episodes, {sum(steps.values())} steps")
    for name, shape in streams.items():
        print(f"      {name} {'x'.join(str(size) for size in shape)}")
    return 0


def _cache(args: argparse.Namespace) -> int:
    sources = _sources(args)
    shapes, objects = _contents(sources)
    streams = {name: shape[:2] for name, shape in shapes.items()}
    if args.only == ["none"]:
        streams = {}
    elif args.only != ["all"]:
        unknown = [name for name in args.only if name not in streams]
        if unknown:
            raise EpisodeError(f"no stream '{unknown[0]}'; the episodes have {', '.join(streams)}")
        streams = {name: streams[name] for name in args.only}
    left_out = samples = kept = 0
    with CacheWriter(
        args.out,
        args.embodiment.state_names,
        streams,
        objects,
        actions=args.embodiment.action_names,
        every=args.every,
        validation_share=args.validation_share,
    ) as writer:
        for name, episode in _loaded("caching", sources):
            _refuse_official_place(name, episode)
            by_expert = episode.meta.get("source", "expert") == "expert"
            if not episode.success and by_expert and not args.keep_failed:
                left_out += 1
                continue
            samples += writer.add(name, episode)
            kept += 1
    size = sum(path.stat().st_size for path in args.out.iterdir())
    print(
        f"{args.out}: {samples} samples of {kept} episodes, {size / 1e9:.2f} GB; "
        f"{left_out} failed episodes left out"
    )
    return 0


def _refuse_official_place(name: str, episode: Episode) -> None:
    """LIBERO's official places are for testing only: who trains on one cannot be compared."""
    place = episode.meta.get("place")
    if place and package.installed() and place in official_places():
        raise EpisodeError(
            f"{name}: begins in an official place of LIBERO, {episode.meta.get('task')}, which is "
            "for testing only; record places of your own with 'multismolvla demos --world libero'"
        )


def _contents(
    sources: Sequence[EpisodeSource],
) -> tuple[dict[str, tuple[int, ...]], tuple[str, ...]]:
    """Streams with their shapes, and objects, of all that can be known without reading it all."""
    shapes: dict[str, tuple[int, ...]] = {}
    objects: dict[str, None] = {}
    seen: set[Path] = set()
    for source in sources:
        if source.in_memory or source.folder not in seen:
            seen.add(source.folder)
            episode = source.load()
            for name, frames in episode.frames.items():
                shapes.setdefault(name, frames.shape[1:])
            objects |= dict.fromkeys(episode.object_poses)
    return shapes, tuple(objects)


def _to_lerobot(args: argparse.Namespace) -> int:
    sources = _sources(args)
    with LeRobotWriter(args.out, args.embodiment, *_contents(sources)) as writer:
        for _, episode in _loaded("converting", sources):
            writer.add(episode)
    print(f"{args.out}: {len(sources)} episodes")
    return 0


def _to_mcap(args: argparse.Namespace) -> int:
    sources = _sources(args)
    # A bag is complete or absent, so an interrupted conversion can continue.
    missing = [source for source in sources if not (args.out / source.name).exists()]
    for name, episode in _loaded("converting", missing):
        write_episode(args.out / name, episode)
    print(f"{args.out}: {len(sources)} episodes, {len(missing)} of them new")
    return 0
