"""Pictures to and from video files."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import av
import cv2
import numpy as np


def write_video(path: Path, pictures: Iterator[np.ndarray], rate_hz: int) -> None:
    """Write BGR pictures (H, W, 3) uint8 of even height and width as H.264."""
    first = next(pictures, None)
    if first is None:
        return
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=rate_hz, options={"crf": "23"})
        video.pix_fmt = "yuv420p"
        video.height, video.width = first.shape[:2]
        for picture in chain((first,), pictures):
            rgb = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
            container.mux(video.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(video.encode())


def read_video(path: Path) -> Iterator[np.ndarray]:
    """The pictures of a video, BGR (H, W, 3) uint8."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="bgr24")
