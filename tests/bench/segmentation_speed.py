"""How long the segmentation network takes per frame, for every set of inputs.

python tests/bench/segmentation_speed.py
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np

from multismolvla.segmentation.predictor import Segmenter
from multismolvla.segmentation.weights import WEIGHTS_FILE
from multismolvla.streams import load_stream_table
from multismolvla.training.segmentation_scenes import Scenes
from multismolvla.training.segmentation_score import SUBSETS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1, help="processor threads of torch")
    parser.add_argument("--frames", type=int, default=200)
    args = parser.parse_args()

    table = load_stream_table(Path(__file__).parents[2] / "config" / "streams.yaml")
    scenes = Scenes(table, seed=0, vary_appearance=False)
    frames = scenes.next()[""]
    scenes.close()
    segmenter = Segmenter(threads=args.threads)
    print(
        f"load {os.getloadavg()[0]:.2f}, {os.cpu_count()} processors, {args.threads} thread(s), "
        f"frames {'x'.join(map(str, frames['depth'].shape))}, "
        f"weights {WEIGHTS_FILE.stat().st_size / 1e6:.2f} MB"
    )
    for subset in SUBSETS:
        given = {kind: frames[kind] for kind in subset}
        times_ms = []
        for _ in range(args.frames):
            start = time.perf_counter()
            segmenter.predict(given)
            times_ms.append(1e3 * (time.perf_counter() - start))
        median, p99 = np.percentile(times_ms[10:], [50, 99])
        print(f"{' + '.join(subset):22s} median {median:.1f} ms, 99 % under {p99:.1f} ms")
    print(f"load {os.getloadavg()[0]:.2f}")


if __name__ == "__main__":
    main()
