"""A film of a run: all streams side by side, masked ones crossed out, as MP4 (H.264)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from multismolvla.evaluation.episode_log import EpisodeLog
from multismolvla.evaluation.sensor_panel import panel
from multismolvla.evaluation.video import write_video
from multismolvla.streams import StreamTable


def write_film(
    path: Path, table: StreamTable, episodes: Sequence[EpisodeLog], rate_hz: int
) -> None:
    """Write every frame of every episode at the rate at which they were taken.

    Raises:
        ValueError: the run has no frames.
    """
    if not any(episode.frames for episode in episodes):
        raise ValueError("the run has no frames to show; did any sensor publish?")
    write_video(path, _pictures(table, episodes), rate_hz)


def _pictures(table: StreamTable, episodes: Sequence[EpisodeLog]) -> Iterator[np.ndarray]:
    for number, episode in enumerate(episodes, start=1):
        for time_s, frames in episode.frames:
            sample = episode.sample_at(time_s)
            caption = (
                f"episode {number}/{len(episodes)}  '{episode.instruction}'  "
                f"{time_s - episode.start_s:5.1f} s  {sample.mode}  "
                f"queue {sample.queue_length}"
            )
            yield panel(table, frames, sample.mask, sample.mask_reason, caption)
