"""How long the segmentation network takes per frame, for each set of inputs and for two views.

./run python benchmarks/segmentation_speed.py
"""

import argparse
import functools
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from multismolvla.segmentation.network import INPUT_KINDS
from multismolvla.segmentation.predictor import Segmenter
from multismolvla.segmentation.weights import WEIGHTS_FILE
from multismolvla.streams import load_stream_table
from multismolvla.training.segmentation.scenes import Scenes
from multismolvla.training.segmentation.score import SUBSETS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1, help="processor threads of torch")
    parser.add_argument("--frames", type=int, default=200)
    args = parser.parse_args()

    table = load_stream_table(Path(__file__).parents[1] / "config" / "streams.yaml")
    scenes = Scenes(table, seed=0, vary_appearance=False)
    views = [dict(view) for view in scenes.next().values()]
    scenes.close()
    frames = views[0]
    segmenter = Segmenter(threads=args.threads)
    print(
        f"load {os.getloadavg()[0]:.2f}, {os.cpu_count()} processors, {args.threads} thread(s), "
        f"frames {'x'.join(map(str, frames['depth'].shape))}, "
        f"weights {WEIGHTS_FILE.stat().st_size / 1e6:.2f} MB"
    )

    def show(name: str, call: Callable[[], object]) -> None:
        times_ms, processor_ms = [], []
        for _ in range(args.frames):
            start, used = time.perf_counter(), time.process_time()
            call()
            times_ms.append(1e3 * (time.perf_counter() - start))
            processor_ms.append(1e3 * (time.process_time() - used))
        median, p99 = np.percentile(times_ms[10:], [50, 99])
        print(
            f"{name:22s} median {median:.1f} ms, 99 % under {p99:.1f} ms; "
            f"of processors {np.median(processor_ms[10:]):.1f} ms"
        )

    for subset in SUBSETS:
        given = {kind: frames[kind] for kind in subset}
        show(" + ".join(subset), functools.partial(segmenter.predict, given))
    both = [{kind: view[kind] for kind in INPUT_KINDS} for view in views]
    show("all, one after another", lambda: [segmenter.predict(view) for view in both])
    show("all, two views at once", lambda: segmenter.predict_batch(both))
    print(f"load {os.getloadavg()[0]:.2f}")


if __name__ == "__main__":
    main()
