"""A wall of clips that play side by side: the failures of an evaluation at one look."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np

from multismolvla.evaluation.clip import RATE_HZ
from multismolvla.evaluation.sensor_panel import FONT, WHITE
from multismolvla.evaluation.video import read_video, write_video

HEAD = 24


def write_video_wall(path: Path, clips: Mapping[str, Path], columns: int = 4) -> None:
    """Write an MP4 of clips, each under its title; one that is over stands still.

    Args:
        clips: title -> file. They may differ in size.

    Raises:
        ValueError: there are no clips.
    """
    if not clips:
        raise ValueError("there are no clips to put on a wall")
    write_video(path, _walls(clips, min(columns, len(clips))), RATE_HZ)


def _walls(clips: Mapping[str, Path], columns: int) -> Iterator[np.ndarray]:
    playing = {title: read_video(file) for title, file in clips.items()}
    shown = {title: next(video) for title, video in playing.items()}
    height = max(picture.shape[0] for picture in shown.values())
    width = max(picture.shape[1] for picture in shown.values())
    while playing:
        tiles = [_titled(title, picture, height, width) for title, picture in shown.items()]
        empty = np.full_like(tiles[0], 20)
        tiles += [empty] * (math.ceil(len(tiles) / columns) * columns - len(tiles))
        yield np.vstack([np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)])
        for title, video in list(playing.items()):
            picture = next(video, None)
            if picture is None:
                del playing[title]
            else:
                shown[title] = picture


def _titled(title: str, picture: np.ndarray, height: int, width: int) -> np.ndarray:
    framed = np.full((HEAD + height, width, 3), 20, np.uint8)
    framed[HEAD : HEAD + picture.shape[0], : picture.shape[1]] = picture
    cv2.putText(framed, title, (5, 16), FONT, 0.4, WHITE, 1, cv2.LINE_AA)
    return framed
