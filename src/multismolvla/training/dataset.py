"""Looks at recorded episodes, makes a training cache of them, converts them."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from multismolvla.data.cache import CacheError
from multismolvla.data.cache_writer import CacheWriter
from multismolvla.data.episode import Episode, EpisodeError
from multismolvla.training.episode_sources import EpisodeSource, find_sources
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
        "--every", type=_positive, default=1, metavar="N", help="keep every n-th camera instant"
    )
    cache.add_argument("--streams", nargs="+", metavar="S", default=["all"], help="or 'all'")
    cache.add_argument(
        "--validation-share",
        type=float,
        default=0.05,
        metavar="X",
        help="of the episodes (default: 0.05)",
    )
    cache.add_argument(
        "--keep-failed",
        action="store_true",
        help="also what the expert failed at; a learner's failures are always kept",
    )
    cache.set_defaults(run=_cache)


def main(args: argparse.Namespace) -> int:
    try:
        return args.run(args)
    except (CacheError, EpisodeError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return 130


def _add_sources(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sources", nargs="+", type=Path, metavar="SOURCE", help="folder")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a positive number")
    return int(text)


def _loaded(title: str, sources: Sequence[EpisodeSource]) -> Iterator[tuple[str, Episode]]:
    with ProgressLine(title, len(sources)) as line:
        for number, source in enumerate(sources, 1):
            yield source.name, source.load()
            line.update(number)


def _info(args: argparse.Namespace) -> int:
    episodes, successes, steps = Counter(), Counter(), Counter()
    streams: dict[str, tuple[int, ...]] = {}
    for _, episode in _loaded("reading", find_sources(args.sources)):
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
    sources = find_sources(args.sources)
    # The first episode of every folder tells what streams there are.
    first = [find_sources([folder])[0].load() for folder in args.sources]
    streams: dict[str, tuple[int, int]] = {}
    for episode in first:
        for name, frames in episode.frames.items():
            streams.setdefault(name, frames.shape[1:3])
    if args.streams != ["all"]:
        unknown = [name for name in args.streams if name not in streams]
        if unknown:
            raise EpisodeError(f"no stream '{unknown[0]}'; the episodes have {', '.join(streams)}")
        streams = {name: streams[name] for name in args.streams}
    objects = tuple(dict.fromkeys(name for episode in first for name in episode.object_poses))
    left_out = samples = kept = 0
    with CacheWriter(
        args.out, streams, objects, every=args.every, validation_share=args.validation_share
    ) as writer:
        for name, episode in _loaded("caching", sources):
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
