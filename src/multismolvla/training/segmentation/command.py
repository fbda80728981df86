"""Train the segmentation network on frames of the simulator and report its mean IoU.

Frames of the tabletop are drawn while training, so that no two steps see the same scene; those of
another world or of a robot come from the cache that --cache names, and their network goes into a
file of its own (--weights). Of every frame some inputs are hidden (modality dropout), so that the
network labels pixels from any of RGB, depth and thermal.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch.nn import functional

from multismolvla.data.cache import CacheError
from multismolvla.modalities.segmentation import LABELS
from multismolvla.segmentation.network import INPUT_KINDS, SegmentationNetwork
from multismolvla.segmentation.predictor import to_tensor
from multismolvla.segmentation.weights import WEIGHTS_FILE, save_weights
from multismolvla.stack.command_options import add_streams, stream_table_file
from multismolvla.streams import StreamTable, load_stream_table
from multismolvla.training.provenance import git_says
from multismolvla.training.segmentation.cached_scenes import CachedScenes
from multismolvla.training.segmentation.scenes import Scenes
from multismolvla.training.segmentation.score import SUBSETS, Scores, score, to_markdown

# Scenes of training and of the report never share a seed.
TRAINING_SEED, HELD_OUT_SEED = 1_000_000, 2_000_000
# Share of frames without a hidden input, and with depth alone, where objects look most alike.
ALL_PRESENT, DEPTH_ALONE = 0.3, 0.25
# Objects cover 1 % of the pixels each and are what the robot is there for.
OBJECT_WEIGHT = 3.0
LEARNING_RATE = 4e-3
WEIGHT_DECAY = 1e-4
TABLE_START, TABLE_END = "<!-- mean IoU: begin -->", "<!-- mean IoU: end -->"


def draw_presence(rng: np.random.Generator, batch: int) -> torch.Tensor:
    """Return a presence mask (batch, 3) bool: often all, else any smaller set, never none."""
    others = (1.0 - ALL_PRESENT - DEPTH_ALONE) / (len(SUBSETS) - 2)
    shares = [
        {SUBSETS[0]: ALL_PRESENT, ("depth",): DEPTH_ALONE}.get(subset, others) for subset in SUBSETS
    ]
    rows = [SUBSETS[index] for index in rng.choice(len(SUBSETS), batch, p=shares)]
    return torch.tensor([[kind in row for kind in INPUT_KINDS] for row in rows])


def train(
    scenes: Scenes | CachedScenes, steps: int, scenes_per_step: int, seed: int, progress: Progress
) -> SegmentationNetwork:
    """Return a network trained for `steps` on fresh scenes, each seen from every view."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = SegmentationNetwork().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    objects = [LABELS.index(label) for label in ("cube", "cylinder", "brick")]
    weight = torch.ones(len(LABELS))
    weight[objects] = OBJECT_WEIGHT
    task = progress.add_task("training", total=steps, loss="")
    smoothed = None
    for _ in range(steps):
        views = [view for _ in range(scenes_per_step) for view in scenes.next().values()]
        frames = {
            kind: torch.stack([to_tensor(kind, view[kind]) for view in views])
            for kind in INPUT_KINDS
        }
        reference = torch.from_numpy(np.stack([view["segmentation"] for view in views])).long()
        logits = network(frames, draw_presence(rng, len(views)))
        loss = functional.cross_entropy(logits, reference, weight)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        smoothed = loss.item() if smoothed is None else 0.98 * smoothed + 0.02 * loss.item()
        progress.update(task, advance=1, loss=f"loss {smoothed:.4f}")
    return network


def held_out_views(
    table: StreamTable, seed: int, count: int, vary_appearance: bool
) -> Iterator[dict[str, np.ndarray]]:
    """Yield the views of `count` scenes that training has not seen."""
    yield from _views(Scenes(table, HELD_OUT_SEED + seed, vary_appearance), count)


def _views(scenes: Scenes | CachedScenes, count: int) -> Iterator[dict[str, np.ndarray]]:
    for _ in range(count):
        yield from scenes.next().values()
    scenes.close()


def write_table(report: Path, table: str) -> None:
    """Put a table between the marks of a Markdown file.

    Raises:
        ValueError: the file lacks the marks.
    """
    text = report.read_text()
    before, found, rest = text.partition(TABLE_START)
    _, closed, after = rest.partition(TABLE_END)
    if not found or not closed:
        raise ValueError(f"{report}: expected the marks {TABLE_START} and {TABLE_END}")
    report.write_text(f"{before}{TABLE_START}\n{table}\n{TABLE_END}{after}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_streams(parser)
    parser.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="learn from the labelled frames of a training cache; its validation split is reported",
    )
    parser.add_argument("--steps", type=int, default=4000, help="optimizer steps")
    parser.add_argument("--scenes-per-step", type=int, default=8, help="each seen by every view")
    parser.add_argument("--held-out", type=int, default=200, help="scenes to report on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="processor threads of torch")
    parser.add_argument("--weights", type=Path, default=WEIGHTS_FILE, help="file to write")
    parser.add_argument("--report", type=Path, help="Markdown file whose table is replaced")


def main(args: argparse.Namespace) -> int:
    """Train, score and save; return the exit status."""
    torch.set_num_threads(args.threads)
    try:
        if args.cache:
            return _from_cache(args)
        table = load_stream_table(stream_table_file(args.streams))
    except (CacheError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2

    # The code that trains is the one of now, whatever is committed meanwhile.
    revision = _git_revision()
    with _progress() as progress:
        scenes = Scenes(table, TRAINING_SEED + args.seed, vary_appearance=True)
        network = train(scenes, args.steps, args.scenes_per_step, args.seed, progress)
        scenes.close()
    nominal, varied = (
        score(network, held_out_views(table, args.seed, args.held_out, vary))
        for vary in (False, True)
    )
    save_weights(
        network,
        args.weights,
        git_revision=revision,
        seeds={"training": TRAINING_SEED + args.seed, "held_out": HELD_OUT_SEED + args.seed},
        steps=args.steps,
        frames=args.steps * args.scenes_per_step * len({stream.view for stream in table}),
        mean_iou=_means(nominal),
        mean_iou_appearance_varied=_means(varied),
    )
    markdown = to_markdown(nominal, varied)
    print(markdown)
    if args.report:
        write_table(args.report, markdown)
    return 0


def _progress() -> Progress:
    columns = ("{task.description}", BarColumn(), "{task.completed}/{task.total}")
    return Progress(*columns, TextColumn("{task.fields[loss]}"), TimeRemainingColumn())


def _from_cache(args: argparse.Namespace) -> int:
    """Train on recorded frames; their appearance is what it is, so there is one score."""
    if args.weights == WEIGHTS_FILE:
        raise ValueError("--cache needs --weights FILE: those of the tabletop are not replaced")
    revision, seed = _git_revision(), args.seed
    scenes = CachedScenes(args.cache, "train", TRAINING_SEED + seed)
    held_out = CachedScenes(args.cache, "validation", HELD_OUT_SEED + seed)
    with _progress() as progress:
        network = train(scenes, args.steps, args.scenes_per_step, seed, progress)
    count = min(args.held_out, len(held_out))
    scores = score(network, _views(held_out, count))
    facts = {"steps": args.steps, "samples": len(scenes), "mean_iou": _means(scores)}
    save_weights(network, args.weights, git_revision=revision, cache=str(args.cache), **facts)
    for subset, mean in facts["mean_iou"].items():
        print(f"{subset:24} mean IoU {mean:.3f} over {count} held-out samples")
    return 0


def _means(scores: Scores) -> dict[str, float]:
    return {
        "+".join(subset): round(float(np.nanmean(values)), 4) for subset, values in scores.items()
    }


def _git_revision() -> str:
    """Return the last commit of network, scenes and training, `unknown` outside a checkout."""
    package = Path(__file__).parents[1]
    paths = [str(package / part) for part in ("segmentation", "sim", "training")]
    return git_says("log", "-1", "--format=%H", "--", *paths)
