"""What a picture of LIBERO costs, drawn fast and officially, and both side by side.

    ./run python benchmarks/libero_cameras.py --picture docs/images/libero_rendering.png

Times are processor milliseconds a view, without the noise of the sensors.
"""

import argparse
import dataclasses
import os
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from multismolvla.sim.cameras import Cameras
from multismolvla.sim.libero.cameras import libero_cameras
from multismolvla.sim.libero.world import LiberoWorld
from multismolvla.streams import StreamTable, load_stream_table

TABLE = load_stream_table(Path(__file__).parents[1] / "config" / "libero" / "streams.yaml")
TASKS = ("object/0", "goal/0", "long/2")
PICTURE_PX = 160


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=96, help="of a picture, pixels")
    parser.add_argument("--picture", type=Path, help="PNG to write: official beside fast")
    args = parser.parse_args()

    world, rows = LiberoWorld(), []
    print(f"load {os.getloadavg()[0]:.2f}, {os.cpu_count()} processors, {args.size} px")
    for task in TASKS:
        world.start(task, 0)
        row = []
        for official in (True, False):
            measure(world, official, args.size)
            if args.picture:
                row.append(pictures(world, official))
        rows.append(row)
    if args.picture:
        # Official and fast side by side, view by view.
        grid = [np.hstack([one[view] for view in (0, 1) for one in row]) for row in rows]
        cv2.imwrite(str(args.picture), np.vstack(grid), [cv2.IMWRITE_PNG_COMPRESSION, 9])


def measure(world: LiberoWorld, official: bool, size: int) -> None:
    start = time.process_time()
    cameras = open_cameras(world, official, size)
    cameras.render(world.data, TABLE.names, 0.0)
    print(
        f"{world.task.id:9} {'official' if official else 'fast':8} "
        f"first pictures {time.process_time() - start:.1f} s",
        end="",
    )
    renderer = cameras._renderer
    for view, camera in cameras._camera_ids.items():
        renderer.look(world.data, camera, size, size)
        colour = milliseconds(lambda: renderer.colour_and_depth(colour=True, depth=True))
        labels = milliseconds(renderer.geom_ids)
        print(f", {view}: colour with depth {colour:.1f} ms, labels {labels:.1f} ms", end="")
    print()
    cameras.close()


def pictures(world: LiberoWorld, official: bool) -> list[np.ndarray]:
    cameras = open_cameras(world, official, PICTURE_PX)
    names = [stream.name for stream in TABLE if stream.kind == "rgb"]
    frames = cameras.render(world.data, names, 0.0)
    cameras.close()
    # Fewer colours, for a smaller file.
    return [frames[name][:, :, ::-1] & 0xF0 for name in names]


def open_cameras(world: LiberoWorld, official: bool, size: int) -> Cameras:
    streams = tuple(dataclasses.replace(stream, height=size, width=size) for stream in TABLE)
    return libero_cameras(world, StreamTable(streams), official=official)


def milliseconds(call: Callable[[], object], count: int = 15) -> float:
    call()
    start = time.process_time()
    for _ in range(count):
        call()
    return (time.process_time() - start) / count * 1e3


if __name__ == "__main__":
    main()
