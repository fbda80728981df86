"""Frames of a stretch of a video file: AV1, H.264 or whatever else FFmpeg decodes."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np


def read_frames(path: Path, start_s: float, count: int, fps: float) -> list[np.ndarray]:
    """`count` frames (H, W, 3) uint8 RGB from `start_s` on, one per 1/fps.

    Raises:
        ValueError: the file cannot be read, or has fewer frames there.
    """
    frames: list[np.ndarray] = []
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            # To the key frame before; what lies between is decoded and dropped.
            container.seek(max(0, int(start_s / stream.time_base)), stream=stream)
            for frame in container.decode(stream):
                if frame.time is not None and frame.time < start_s - 0.5 / fps:
                    continue
                frames.append(frame.to_ndarray(format="rgb24"))
                if len(frames) == count:
                    return frames
    except (av.error.FFmpegError, OSError, IndexError) as error:
        raise ValueError(f"{path}: cannot read the video: {' '.join(str(error).split())}") from None
    raise ValueError(f"{path}: has {len(frames)} frames from {start_s:.2f} s on, not {count}")
