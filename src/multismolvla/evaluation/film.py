"""A film of a run: all streams side by side, masked ones crossed out, as MP4 (H.264)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
import cv2

from multismolvla.evaluation.episode_log import EpisodeLog
from multismolvla.evaluation.sensor_panel import panel
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
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=rate_hz, options={"crf": "23"})
        video.pix_fmt = "yuv420p"
        for number, episode in enumerate(episodes, start=1):
            for time_s, frames in episode.frames:
                sample = episode.sample_at(time_s)
                caption = (
                    f"episode {number}/{len(episodes)}  '{episode.instruction}'  "
                    f"{time_s - episode.start_s:5.1f} s  {sample.mode}  "
                    f"queue {sample.queue_length}"
                )
                picture = panel(table, frames, sample.mask, sample.mask_reason, caption)
                if not video.codec_context.is_open:
                    video.height, video.width = picture.shape[:2]
                rgb = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
                container.mux(video.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(video.encode())
