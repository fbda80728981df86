"""The end of an episode to look at: one view of each camera, masked ones crossed out, as MP4."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from multismolvla.evaluation.sensor_panel import tile
from multismolvla.evaluation.video import write_video
from multismolvla.streams import Stream, StreamTable

RATE_HZ = 5
CAMERA_HZ = 15


class Clip:
    """Collects what the cameras see of one episode, and writes it if anybody wants it."""

    def __init__(self, table: StreamTable) -> None:
        # RGB is the first stream of a view, where the view has it.
        views: dict[str, Stream] = {}
        for stream in table:
            views.setdefault(stream.view, stream)
        self._shown = tuple(views.values())
        self.streams = tuple(stream.name for stream in self._shown)
        self._seen = 0
        self._pictures: list[np.ndarray] = []

    def on_frames(
        self, since_s: float, frames: Mapping[str, np.ndarray], mask: Mapping[str, bool]
    ) -> None:
        """Take in what the cameras see; see `closed_loop.Spectator`."""
        self._seen += 1
        if self._seen % (CAMERA_HZ // RATE_HZ) == 1:
            views = [
                tile(
                    stream.kind,
                    f"{stream.name} {since_s:.1f} s",
                    np.ascontiguousarray(frames[stream.name]),
                    not mask.get(stream.name, False),
                    "masked",
                )
                for stream in self._shown
            ]
            self._pictures.append(np.hstack(views))

    def write(self, path: Path) -> None:
        """Write what was seen, BGR pictures of equal size; nothing if nothing was."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, iter(self._pictures), RATE_HZ)
