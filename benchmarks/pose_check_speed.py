"""What the pose check costs the policy node: one set of eight frames, on one thread.

./run python benchmarks/pose_check_speed.py
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import statistics
import time
from pathlib import Path

import numpy as np

from multismolvla.embodiment.so101 import SO101
from multismolvla.pose_check.check import SIMULATION, PoseCheck, find_weights
from multismolvla.streams import load_stream_table

SETS = 300


def main() -> None:
    table = load_stream_table(Path(__file__).parents[1] / "config" / "streams.yaml")
    rng = np.random.default_rng(0)
    frames = {}
    for stream in table:
        size = (stream.height, stream.width)
        if stream.kind == "rgb":
            frames[stream.name] = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        elif stream.kind == "segmentation":
            frames[stream.name] = rng.integers(0, 9, size, dtype=np.uint8)
        else:
            frames[stream.name] = rng.uniform(0.2, 1.0, size).astype(np.float32)
    check = PoseCheck(find_weights(SIMULATION))
    times_ms, processor_ms = [], []
    for _ in range(SETS):
        began, used = time.perf_counter(), time.process_time()
        check.judge(frames, SO101.home_rad)
        times_ms.append((time.perf_counter() - began) * 1e3)
        processor_ms.append((time.process_time() - used) * 1e3)
    low, middle, high = statistics.quantiles(times_ms, n=4)
    rate_hz = max(stream.rate_hz for stream in table)
    print(
        f"{len(frames)} frames of {table.streams[0].width} px: {middle:.2f} ms a set "
        f"(quartiles {low:.2f}-{high:.2f}), of processors "
        f"{statistics.median(processor_ms):.2f} ms, {middle * rate_hz / 10:.1f} % of a core at "
        f"{rate_hz:g} Hz; load {os.getloadavg()[0]:.1f}"
    )


if __name__ == "__main__":
    main()
