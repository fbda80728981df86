"""Frames of a LeRobot data set's cameras: of video files, and of images in or beside the rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pyarrow as pa

from multismolvla.data.episode import EpisodeError
from multismolvla.data.lerobot_info import DepthCoding, Feature
from multismolvla.modalities.conversion import to_counts
from multismolvla.modalities.registry import modality_of
from multismolvla.one_line import one_line

# What LeRobot 0.6 keeps depth in: code 0 to 4095, in the first plane of a video of 12 bits.
_MOST_CODE = 4095
TWELVE_BITS = ("gray12le", "yuv420p12le", "yuv422p12le", "yuv444p12le")


def read_frames(path: Path, times_s: np.ndarray, fps: float, depth: bool = False) -> list:
    """The frame nearest to each time, (H, W, 3) uint8 RGB or (H, W) uint16 codes of depth.

    Args:
        times_s: (n,) rising.
        fps: of the data set: a frame further than half of a period away is none.

    Raises:
        ValueError: the file cannot be read, or has no frame at one of the times.
    """
    frames: list[np.ndarray] = []
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            # To the key frame before; what lies between is decoded and dropped.
            start_s = max(0.0, float(times_s[0]) - 0.5 / fps)
            container.seek(int(start_s / stream.time_base), stream=stream)
            for frame in container.decode(stream):
                if frame.time is None or frame.time < times_s[len(frames)] - 0.5 / fps:
                    continue
                picture = None
                # Rows that were recorded unevenly may share a frame.
                while abs(frame.time - times_s[len(frames)]) <= 0.5 / fps + 1e-4:
                    if picture is None:
                        picture = _codes(frame) if depth else frame.to_ndarray(format="rgb24")
                    frames.append(picture)
                    if len(frames) == len(times_s):
                        return frames
                if picture is None:
                    missing_s = times_s[len(frames)]
                    raise ValueError(
                        f"{path}: has no frame at {missing_s:.2f} s, the next is at "
                        f"{frame.time:.2f} s; its stamps are not those of the rows"
                    )
    except (av.error.FFmpegError, OSError, IndexError) as error:
        raise ValueError(f"{path}: cannot read the video: {one_line(error)}") from None
    raise ValueError(
        f"{path}: has {len(frames)} frames from {times_s[0]:.2f} s on, not {len(times_s)}"
    )


def _codes(frame: av.VideoFrame) -> np.ndarray:
    if frame.format.name not in TWELVE_BITS:
        raise ValueError(
            f"the depth video is {frame.format.name}; expected 12 bits, such as {TWELVE_BITS[0]}"
        )
    plane = frame.planes[0]
    rows = np.frombuffer(plane, "<u2").reshape(plane.height, plane.line_size // 2)
    return rows[:, : plane.width].astype(np.uint16)


def depth_of_codes(codes: np.ndarray, coding: DepthCoding) -> np.ndarray:
    """Metres (H, W) float32 of 12-bit codes; NaN for the first and the last code.

    LeRobot clips to its range and has no code for 'no return', which is 0 m and therefore code 0.
    So neither end of the range is a measurement.
    """
    low, high = coding.least_m, coding.most_m
    if coding.logarithmic:
        low, high = np.log([low + coding.shift_m, high + coding.shift_m])
    table = low + (high - low) * np.arange(_MOST_CODE + 1) / _MOST_CODE
    if coding.logarithmic:
        table = np.exp(table) - coding.shift_m
    table[[0, -1]] = np.nan
    return table.astype(np.float32)[np.minimum(codes, _MOST_CODE)]


def encoded(folder: Path, place: int, cell: Any, read: bool = True) -> bytes:
    """The bytes of an image, from its cell or from the file that it names within the data set.

    Args:
        place: of the row, for errors.
        read: whether the file is read; without, it is only looked for.

    Raises:
        EpisodeError: there is none; one line.
    """
    value = {"bytes": cell} if isinstance(cell, bytes) else cell
    value = {"path": value} if isinstance(value, str) else value or {}
    if not isinstance(value, dict):
        raise EpisodeError(f"row {place} has {type(value).__name__} for an image; expected bytes")
    if value.get("bytes"):
        return value["bytes"]
    path = value.get("path")
    if not isinstance(path, str) or not path:
        raise EpisodeError(f"row {place} has no image: neither bytes nor a path")
    whole = (folder / path).resolve()
    if not whole.is_relative_to(folder.resolve()):
        raise EpisodeError(
            f"row {place}: the image '{path}' is outside of the data set; copy it there and "
            "write its path relative to the data set"
        )
    if not whole.is_file():
        raise EpisodeError(f"row {place}: the image '{path}' is not in the data set")
    return whole.read_bytes() if read else b""


def picture_of(data: bytes) -> np.ndarray:
    """A picture as it is stored, colours as RGB; EpisodeError where it is none."""
    frame = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if frame is None:
        raise EpisodeError(f"an image of {len(data)} bytes cannot be decoded")
    return frame[..., [2, 1, 0]] if frame.ndim == 3 and frame.shape[2] >= 3 else frame


Resize = Callable[[str, np.ndarray], np.ndarray]


class Pictures:
    """Turns what a data set keeps into frames of our streams, in counts.

    Args:
        folder: of the data set.
        resize: (stream, frame) -> frame, for cameras of another size than the stream's.
    """

    def __init__(self, folder: Path, resize: Resize | None = None) -> None:
        self._folder, self._resize = folder, resize

    def of_video(
        self, stream: str, feature: Feature, path: Path, times_s: np.ndarray, fps: float
    ) -> np.ndarray:
        """(n, H, W[, 3]) frames at the times; ValueError in one line where they are not there."""
        pictures = read_frames(path, times_s, fps, depth=feature.coding is not None)
        return np.stack([self._frame(stream, feature, picture) for picture in pictures])

    def of_cells(
        self, stream: str, column: pa.ChunkedArray | pa.Array, feature: Feature
    ) -> np.ndarray:
        """(n, H, W[, 3]) frames of a column of images; ValueError in one line if one is none."""
        return np.stack(
            [
                self._frame(stream, feature, picture_of(encoded(self._folder, place, cell.as_py())))
                for place, cell in enumerate(column)
            ]
        )

    def _frame(self, stream: str, feature: Feature, picture: np.ndarray) -> np.ndarray:
        """A frame of the stream: RGB from grey, depth from metres or codes."""
        modality = modality_of(stream)
        if feature.coding is not None:
            picture = to_counts(modality, depth_of_codes(picture, feature.coding))
        elif feature.depth and picture.dtype == np.float32:
            # As LeRobot has it: numbers with a point are metres, whole ones are millimetres.
            metres = picture if feature.depth_unit in ("", "m") else picture / np.float32(1000.0)
            picture = to_counts(modality, metres)
        elif feature.depth and feature.depth_unit == "m":
            raise EpisodeError(f"an image of {stream} is {picture.dtype}, and depth_unit is m")
        if modality.channels == 3 and picture.ndim == 2:
            picture = np.repeat(picture[..., None], 3, axis=2)
        if modality.channels == 1 and picture.ndim == 3 and picture.shape[2] == 1:
            picture = picture[..., 0]
        if picture.dtype != modality.counts.dtype or picture.ndim != 2 + len(modality.trailing):
            raise EpisodeError(
                f"an image of {stream} is {picture.shape} {picture.dtype}; expected "
                f"{modality.counts.dtype}, {'3 channels' if modality.trailing else '1 channel'}"
            )
        frame = np.ascontiguousarray(picture)
        return frame if self._resize is None else self._resize(stream, frame)
