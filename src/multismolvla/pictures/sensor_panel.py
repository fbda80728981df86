"""All streams at one instant: what each sensor saw, and which of them were masked."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from multismolvla.modalities.modality import Modality
from multismolvla.streams import StreamTable

# Frames of every kind as pictures for people.


def colorize(modality: Modality, frame: np.ndarray) -> np.ndarray:
    """Return a BGR picture (H, W, 3) uint8 of a conditioned frame; black where nothing is."""
    if modality.channels == 3:
        return cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
    colours = modality.colours
    if modality.labels:
        palette = np.array(colours.palette, np.uint8)
        return palette[np.minimum(frame, len(palette) - 1)]
    fraction = (frame - np.float32(colours.low)) / np.float32(colours.high - colours.low)
    picture = _map(1.0 - fraction if colours.reverse else fraction, colours.colormap)
    if modality.no_return:
        picture[~np.isfinite(frame)] = 0
    return picture


def _map(fraction: np.ndarray, colormap: int) -> np.ndarray:
    levels = np.nan_to_num(fraction, nan=0.0).clip(0.0, 1.0) * 255.0
    return cv2.applyColorMap(levels.astype(np.uint8), colormap)


TILE = 192
CAPTION = 24
FONT = cv2.FONT_HERSHEY_SIMPLEX
GREY, WHITE, RED = (70, 70, 70), (255, 255, 255), (60, 60, 255)


def tile(
    modality: Modality, name: str, frame: np.ndarray | None, masked: bool, reason: str
) -> np.ndarray:
    """Return one stream as (CAPTION + TILE, TILE, 3) BGR; a masked one is crossed out."""
    picture = np.full((CAPTION + TILE, TILE, 3), 20, np.uint8)
    if frame is not None:
        picture[CAPTION:] = cv2.resize(
            colorize(modality, frame),
            (TILE, TILE),
            interpolation=cv2.INTER_NEAREST if modality.labels else cv2.INTER_LINEAR,
        )
    colour = WHITE
    caption = name
    if masked:
        picture[CAPTION:] = picture[CAPTION:] // 4
        cv2.line(picture, (0, CAPTION), (TILE, CAPTION + TILE), RED, 2, cv2.LINE_AA)
        cv2.line(picture, (TILE, CAPTION), (0, CAPTION + TILE), RED, 2, cv2.LINE_AA)
        colour = RED
        caption = f"{name}: {reason or 'masked'}"
    cv2.putText(picture, caption, (5, 17), FONT, 0.42, colour, 1, cv2.LINE_AA)
    cv2.rectangle(picture, (0, 0), (TILE - 1, CAPTION + TILE - 1), GREY, 1)
    return picture


def tiles(
    table: StreamTable,
    frames: Mapping[str, np.ndarray],
    mask: Mapping[str, bool],
    mask_reason: Mapping[str, str],
) -> list[np.ndarray]:
    """Return one tile per stream, in the order of the table."""
    return [
        tile(
            stream.modality,
            stream.name,
            frames.get(stream.name),
            not mask.get(stream.name, False),
            mask_reason.get(stream.name, ""),
        )
        for stream in table
    ]


def panel(
    table: StreamTable,
    frames: Mapping[str, np.ndarray],
    mask: Mapping[str, bool],
    mask_reason: Mapping[str, str],
    caption: str,
) -> np.ndarray:
    """Return all streams, one row a view, under a line of text. BGR, even height and width."""
    views = dict.fromkeys(stream.view for stream in table)
    pictures = dict(zip(table.names, tiles(table, frames, mask, mask_reason), strict=True))
    rows = [
        np.hstack([pictures[stream.name] for stream in table if stream.view == view])
        for view in views
    ]
    width = max(row.shape[1] for row in rows)
    rows = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0))) for row in rows]
    head = np.full((32, width, 3), 20, np.uint8)
    cv2.putText(head, caption, (6, 21), FONT, 0.5, WHITE, 1, cv2.LINE_AA)
    return np.vstack([head, *rows])


def board(
    table: StreamTable,
    view: str,
    frames: Mapping[str, np.ndarray | None],
    masked: Mapping[str, str],
) -> np.ndarray:
    """Return the streams of one view, two a row. RGB (H, W, 3) uint8.

    A masked stream is crossed out and labelled; one without a frame is empty.

    Args:
        view: `""` for the top camera, `wrist` for the wrist camera.
        masked: stream -> reason, for those that are masked.
    """
    pictures = []
    for stream in table:
        if stream.view != view:
            continue
        name, frame = stream.name, frames.get(stream.name)
        picture = tile(stream.modality, name, frame, name in masked, masked.get(name, ""))
        if name in masked:
            _stamp(picture, "MASKED", RED)
        elif frame is None:
            _stamp(picture, "NO FRAME", WHITE)
        pictures.append(picture)
    if len(pictures) % 2:
        pictures.append(np.full((CAPTION + TILE, TILE, 3), 20, np.uint8))
    rows = [np.hstack(pictures[i : i + 2]) for i in range(0, len(pictures), 2)]
    return cv2.cvtColor(np.vstack(rows), cv2.COLOR_BGR2RGB)


def _stamp(picture: np.ndarray, text: str, colour: tuple[int, int, int]) -> None:
    """Write across the middle of a tile."""
    (width, height), _ = cv2.getTextSize(text, FONT, 0.7, 2)
    x, y = (TILE - width) // 2, CAPTION + (TILE + height) // 2
    cv2.rectangle(picture, (x - 8, y - height - 8), (x + width + 8, y + 8), (20, 20, 20), -1)
    cv2.putText(picture, text, (x, y), FONT, 0.7, colour, 2, cv2.LINE_AA)
