"""A training cache of a made-up task: reach for a square that only the pictures show."""

import json
from pathlib import Path

import numpy as np

from multismolvla.data.cache import FORMAT, INDEX_FILE, array_file
from multismolvla.modalities.registry import kinds

SIZE = 32
ROWS = 10
STREAMS = tuple(f"{view}{kind}" for view in ("", "wrist/") for kind in kinds())
TABLE = "streams:\n" + "".join(
    f"  - {{name: {name}, kind: {name.rpartition('/')[2]}, height: {SIZE}, width: {SIZE}, "
    "rate_hz: 15.0, frame_id: camera_optical_frame}\n"
    for name in STREAMS
)


def draw(stream: str, centre: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A frame with a square at `centre` (2,) in [-1, 1]; the wrist sees it mirrored."""
    x, y = np.rint((centre * (-1 if stream.startswith("wrist") else 1) + 1) / 2 * (SIZE - 8) + 4)
    square = np.zeros((SIZE, SIZE), bool)
    square[int(y) - 3 : int(y) + 3, int(x) - 3 : int(x) + 3] = True
    kind = stream.rpartition("/")[2]
    if kind == "rgb":
        colour = np.where(square[..., None], (200, 40, 40), (90, 90, 90))
        return (colour + rng.integers(-10, 10, (SIZE, SIZE, 3))).astype(np.uint8)
    if kind == "depth":
        return np.where(square, 450, 500).astype(np.uint16)
    if kind == "thermal":
        return np.where(square, 30515, 29815).astype(np.uint16)
    return np.where(square, 6, 1).astype(np.uint8)


def write_cache(
    folder: Path,
    episodes: int = 12,
    length: int = 16,
    streams: tuple[str, ...] = STREAMS,
    held_out: int = 2,
    seed: int = 0,
    sequential: bool = True,
) -> Path:
    """Every sample has its own place of the square; states are random: they tell nothing."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    count = episodes * length
    arrays = {
        "mask": np.ones((count, len(streams)), bool),
        "state": rng.uniform(-0.3, 0.3, (count, 6)).astype(np.float32),
        "chunk": np.zeros((count, ROWS, 6), np.float32),
        "instruction": np.zeros(count, np.int64),
        "object_poses": np.zeros((count, 1, 7), np.float32),
        "episode": np.repeat(np.arange(episodes), length),
        "row": np.tile(np.arange(length), episodes),
    }
    frames = {name: [] for name in streams}
    for episode in range(episodes):
        for row in range(length):
            centre = rng.uniform(-1, 1, 2)
            sample = episode * length + row
            goal = np.array([*centre, 0.5 * centre.sum(), 0.0, 0.0, 0.2])
            share = np.linspace(0, 1, ROWS)[:, None]
            arrays["chunk"][sample] = (1 - share) * arrays["state"][sample] + share * goal
            arrays["object_poses"][sample, 0] = [0.2 + 0.1 * centre[0], 0.1 * centre[1], 0.02, 1, 0, 0, 0]  # fmt: skip  # noqa: E501
            for name in streams:
                frames[name].append(draw(name, centre, rng))
    for name, array in (arrays | {k: np.stack(v) for k, v in frames.items()}).items():
        np.save(array_file(folder, name), array)
    index = {
        "format": FORMAT,
        "streams": list(streams),
        "instructions": ["put the red cube in the bin"],
        "objects": ["red_cube"],
        "episodes": [
            {
                "start": i * length,
                "length": length,
                "split": "validation" if i >= episodes - held_out else "train",
                "meta": {"seed": i},
            }
            for i in range(episodes)
        ],
        "period_s": 1 / 30,
        "sequential": sequential,
        "samples": count,
    }
    (folder / INDEX_FILE).write_text(json.dumps(index))
    return folder
