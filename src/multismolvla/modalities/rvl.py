"""RVL, the depth compression that `compressed_depth_image_transport` offers beside PNG.

After A. D. Wilson, Fast Lossless Depth Image Compression (2017): runs of zeros and of differences
to the last value, each number in groups of three bits with a fourth that says whether more follow,
eight groups to a word of 32 bits, the first in its highest bits.
"""

from __future__ import annotations

import numpy as np

# A pixel takes half a byte at least, but for runs of zeros.
MOST_PIXELS = 2**26


def decompress(data: np.ndarray, count: int) -> np.ndarray:
    """(count,) uint16 values of (N,) uint8 bytes.

    Raises:
        ValueError: the bytes are not that many values; one line.
    """
    if not 0 < count <= MOST_PIXELS:
        raise ValueError(f"RVL of {count} pixels; expected 1 to {MOST_PIXELS}")
    words = np.frombuffer(data[: len(data) // 4 * 4].tobytes(), "<u4").astype(">u4")
    packed = words.view(np.uint8)
    groups = np.stack((packed >> 4, packed & 15), axis=1).reshape(-1)
    numbers = _numbers(groups)
    found = np.zeros(count, np.int64)
    at = start = 0
    runs: list[tuple[int, int, int]] = []
    # Zeros and values in turn, both counted; of the values as many differences follow.
    while at < count:
        if start + 1 >= len(numbers):
            raise ValueError(f"RVL ends after {at} of {count} pixels: it is truncated")
        zeros, values = int(numbers[start]), int(numbers[start + 1])
        at, start = at + zeros, start + 2
        if at + values > count or start + values > len(numbers) or zeros + values == 0:
            raise ValueError(f"RVL does not hold {count} pixels: it is damaged")
        runs.append((at, start, values))
        at, start = at + values, start + values
    places = [np.arange(start, start + values) for _, start, values in runs]
    steps = numbers[np.concatenate(places)] if places else np.zeros(0, np.int64)
    # The sign is in the lowest bit.
    values = np.cumsum((steps >> 1) ^ -(steps & 1))
    done = 0
    for at, _, length in runs:
        found[at : at + length] = values[done : done + length]
        done += length
    if found.min() < 0 or found.max() > 65535:
        raise ValueError("RVL gives values beyond 16 bits: it is damaged")
    return found.astype(np.uint16)


def _numbers(groups: np.ndarray) -> np.ndarray:
    """Groups of three bits, least first, as numbers."""
    last = (groups & 8) == 0
    ends = np.flatnonzero(last)
    if not len(ends):
        return np.zeros(0, np.int64)
    starts = np.concatenate(([0], ends[:-1] + 1))
    whole = ends[-1] + 1
    place = np.arange(whole) - np.repeat(starts, ends - starts + 1)
    if place.max() > 10:
        raise ValueError("RVL has a number beyond 32 bits: it is damaged")
    bits = (groups[:whole] & 7).astype(np.int64) << (3 * place)
    return np.add.reduceat(bits, starts)
