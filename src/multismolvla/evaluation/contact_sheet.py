"""A contact sheet: a few moments of a run, one row a moment, one column a stream."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from multismolvla.evaluation.episode_log import EpisodeLog
from multismolvla.evaluation.sensor_panel import CAPTION, FONT, TILE, WHITE, tiles
from multismolvla.streams import StreamTable

MARGIN = 110


def write_contact_sheet(
    path: Path, table: StreamTable, episodes: Sequence[EpisodeLog], moments: int = 6
) -> None:
    """Write a PNG with `moments` rows from the episode in which a stream was cut, or the first.

    Raises:
        ValueError: the run has no frames.
    """
    faulty = [episode for episode in episodes if episode.fault]
    episode = (faulty or list(episodes))[0]
    if not episode.frames:
        raise ValueError("the run has no frames to show; did any sensor publish?")
    chosen = np.linspace(0, len(episode.frames) - 1, moments).round().astype(int)
    rows = []
    for index in chosen:
        time_s, frames = episode.frames[index]
        sample = episode.sample_at(time_s)
        margin = np.full((CAPTION + TILE, MARGIN, 3), 20, np.uint8)
        lines = (f"{time_s - episode.start_s:.1f} s", sample.mode, f"queue {sample.queue_length}")
        for number, line in enumerate(lines):
            cv2.putText(margin, line, (8, 40 + 22 * number), FONT, 0.5, WHITE, 1, cv2.LINE_AA)
        rows.append(np.hstack([margin, *tiles(table, frames, sample.mask, sample.mask_reason)]))
    head = np.full((36, rows[0].shape[1], 3), 20, np.uint8)
    title = f"'{episode.instruction}', seed {episode.seed}: "
    title += f"success in {episode.success_time_s:.1f} s" if episode.success else "failure"
    cv2.putText(head, title, (8, 24), FONT, 0.6, WHITE, 1, cv2.LINE_AA)
    cv2.imwrite(str(path), np.vstack([head, *rows]))
