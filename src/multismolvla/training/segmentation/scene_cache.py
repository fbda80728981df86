"""Random scenes as a training cache for perception: `multismolvla scenes --out data/scenes`.

Demonstrations show few scenes, each for a long time; to learn where things are takes many scenes.
A scene needs rendering and no simulation, and its light, colours and cameras vary as well.
It has no actions: it serves phases of the kind `perception`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections import deque
from pathlib import Path

import numpy as np
from tqdm import tqdm

from multismolvla.data.cache import FORMAT, INDEX_FILE, array_file
from multismolvla.data.cache_writer import sample_layout
from multismolvla.embodiment.description import PERIOD_S
from multismolvla.embodiment.so101 import SO101
from multismolvla.modalities.conversion import to_counts
from multismolvla.sim.layout import SHAPES
from multismolvla.stack.command_options import add_streams, stream_table_file
from multismolvla.streams import StreamTable, load_stream_table
from multismolvla.training.segmentation.scenes import Scenes
from multismolvla.worker_pool import results

# Scenes of a block are one "episode", drawn with a seed of their own.
BLOCK = 50
# Of segmentation's training and report and of the demonstrations, none has these seeds.
FIRST_SEED = 3_000_000
VALIDATION_SHARE = 0.04
# Labels bear a loose camera; places do not: what the camera is off by, they are off by as well.
CAMERA_SHIFT_M, FIXTURE_SHIFT_M = 0.001, 0.002
INSTRUCTION = "look at the table"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--out", type=Path, default=Path("data/scenes"), help="folder to write")
    parser.add_argument("--count", type=int, default=10_000, help="scenes; default: %(default)s")
    parser.add_argument("--workers", type=int, default=2, help="processes; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0)
    add_streams(parser)


def main(args: argparse.Namespace) -> int:
    """Write the cache; return the exit status."""
    try:
        table = load_stream_table(stream_table_file(args.streams))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if args.count < 1 or args.workers < 1:
        print("error: --count and --workers must be positive numbers", file=sys.stderr)
        return 2
    if args.out.exists() and not (args.out / INDEX_FILE).exists() and any(args.out.iterdir()):
        print(f"error: {args.out} is not empty and holds no cache", file=sys.stderr)
        return 2
    write_scenes(args.out, table, args.count, args.workers, args.seed)
    return 0


def write_scenes(folder: Path, table: StreamTable, count: int, workers: int, seed: int) -> None:
    """Write a cache of `count` scenes, rounded up to whole blocks; the same for any `workers`."""
    blocks = -(-count // BLOCK)
    beside = folder.parent / f".writing-{folder.name}"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    for name, (dtype, shape) in _layout(table).items():
        path = array_file(beside, name)
        np.lib.format.open_memmap(path, "w+", dtype, (blocks * BLOCK, *shape))
    tasks = deque((beside, table, block, seed) for block in range(blocks))
    with tqdm(total=blocks * BLOCK, unit="scene") as bar:
        for _ in results(tasks, _write_block, workers):
            bar.update(BLOCK)
    held_out = round(VALIDATION_SHARE * blocks)
    index = {
        "format": FORMAT,
        "samples": blocks * BLOCK,
        "streams": list(table.names),
        "instructions": [INSTRUCTION],
        "joints": list(SO101.joint_names),
        "objects": list(SHAPES),
        "period_s": PERIOD_S,
        "sequential": False,
        "episodes": [
            {
                "name": f"scenes/{block:06d}",
                "split": "validation" if block < held_out else "train",
                "start": block * BLOCK,
                "length": BLOCK,
                "instruction": INSTRUCTION,
                "meta": {"seed": FIRST_SEED + seed + block, "source": "scenes"},
            }
            for block in range(blocks)
        ],
    }
    (beside / INDEX_FILE).write_text(json.dumps(index))
    shutil.rmtree(folder, ignore_errors=True)
    beside.rename(folder)


def _layout(table: StreamTable) -> dict[str, tuple[np.dtype, tuple[int, ...]]]:
    sizes = {stream.name: (stream.height, stream.width) for stream in table}
    return sample_layout(sizes, len(SO101), len(SO101), len(SHAPES))


def _write_block(task: tuple[Path, StreamTable, int, int]) -> None:
    folder, table, block, seed = task
    arrays = {n: np.load(array_file(folder, n), mmap_mode="r+") for n in _layout(table)}
    scenes = Scenes(
        table,
        FIRST_SEED + seed + block,
        vary_appearance=True,
        camera_shift_m=CAMERA_SHIFT_M,
        fixture_shift_m=FIXTURE_SHIFT_M,
    )
    for row in range(BLOCK):
        sample = block * BLOCK + row
        views = scenes.next()
        for stream in table:
            frame = views[stream.view][stream.kind]
            arrays[stream.name][sample] = to_counts(stream.modality, frame)
        arrays["mask"][sample] = True
        arrays["state"][sample] = scenes.joints
        arrays["chunk"][sample] = scenes.joints
        arrays["object_poses"][sample] = np.stack([scenes.object_poses[name] for name in SHAPES])
        arrays["episode"][sample] = block
        arrays["row"][sample] = row
    scenes.close()
