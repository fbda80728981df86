"""Whether a LeRobot data set's pictures are where its rows want them; hardly any is decoded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from multismolvla.data.lerobot_info import Feature, SetInfo
from multismolvla.data.lerobot_layout import INFO
from multismolvla.data.lerobot_pictures import TWELVE_BITS, encoded, picture_of
from multismolvla.data.lerobot_rows import Part
from multismolvla.data.lerobot_tables import FETCH, EpisodeIssues, format_path
from multismolvla.doctor import Finding, error, warning
from multismolvla.one_line import one_line

# LeRobot refuses frames further than its tolerance_s (0.0001) from the stamps of their rows, the
# reader here those further than half a period. Some containers count in milliseconds.
_BESIDE_S = 1e-3


def check_cameras(folder: Path, info: SetInfo, parts: Sequence[Part]) -> list[Finding]:
    """What is wrong with the videos and images of every camera."""
    found: list[Finding] = []
    for key in info.cameras:
        feature = info.features[key]
        if feature.dtype == "video":
            found += _check_videos(folder, info, key, feature, parts)
        else:
            found += _check_images(folder, key, feature, parts)
    return found


def _check_videos(
    folder: Path, info: SetInfo, key: str, feature: Feature, parts: Sequence[Part]
) -> list[Finding]:
    by_file: dict[str, list[Part]] = {}
    for part in parts:
        name = format_path(info.video_path, part.entry, f"videos/{key}", video_key=key)
        by_file.setdefault(name, []).append(part)
    found: list[Finding] = []
    issues = EpisodeIssues()
    for name, here in by_file.items():
        if not (folder / name).is_file():
            episodes = ", ".join(dict.fromkeys(str(part.episode) for part in here))
            found.append(error(name, "", f"is missing; it has episodes {episodes}", FETCH))
            continue
        try:
            stamps_s, about = _stamps(folder / name)
        except (av.error.FFmpegError, OSError, IndexError, ValueError) as unreadable:
            what = f"cannot read the video: {one_line(unreadable)}"
            found.append(error(name, "", what, FETCH))
            continue
        found += _about(name, key, feature, about)
        late = 0.0
        for part in here:
            wanted = part.entry[f"videos/{key}/from_timestamp"] + part.times_s
            place = np.clip(np.searchsorted(stamps_s, wanted), 1, max(1, len(stamps_s) - 1))
            around = np.abs(
                np.stack([stamps_s[np.minimum(place, len(stamps_s) - 1)], stamps_s[place - 1]])
                - wanted
            )
            away = around.min(0)
            absent = np.flatnonzero(away > 0.5 / info.fps + 1e-4)
            if len(absent):
                row = int(absent[0])
                detail = f"{len(absent)} of {len(wanted)} rows, the first at {wanted[row]:.2f} s"
                what = f"has no frame for some rows; it ends at {stamps_s[-1]:.2f} s"
                issues.error(part.episode, name, "from_timestamp", what, detail, FETCH)
            else:
                late = max(late, float(away.max()))
        if late > _BESIDE_S:
            what = f"has frames up to {late:.3f} s beside the stamps of their rows"
            fix = "read here; LeRobot needs a larger tolerance_s"
            found.append(warning(name, "from_timestamp", what, fix))
    return found + issues.findings()


def _stamps(path: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """Times of all frames in seconds, rising, without decoding; and what the first one is like."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        counts = [packet.pts for packet in container.demux(stream) if packet.pts is not None]
        if not counts:
            raise ValueError("it has no frames")
        stamps_s = np.sort(np.array(counts, np.float64)) * float(stream.time_base)
        container.seek(int(min(counts)), stream=stream)
        first = next(container.decode(stream))
        about = {"size": (first.height, first.width), "format": first.format.name}
        return stamps_s, about | {"codec": stream.codec_context.name}


def _about(name: str, key: str, feature: Feature, about: Mapping[str, Any]) -> Iterator[Finding]:
    yield from _size(name, key, feature, about["size"])
    if feature.coding is not None and about["format"] not in TWELVE_BITS:
        what = f"is {about['format']} ({about['codec']}); expected 12 bits, as a depth map has"
        yield error(name, "", what)


def _size(name: str, key: str, feature: Feature, size: tuple[int, int]) -> Iterator[Finding]:
    """LeRobot says height, width, channels; older sets begin with the channels."""
    shape = feature.shape
    said = [shape[1:], shape[:2]] if len(shape) == 3 else [shape]
    if shape and size not in said:
        what = f"is {size[0]}x{size[1]}; {INFO} says {'x'.join(map(str, shape))}"
        yield warning(name, f"features.{key}.shape", what)


def _check_images(folder: Path, key: str, feature: Feature, parts: Sequence[Part]) -> list[Finding]:
    """The first image of every file is decoded; of the others, that they are there."""
    found: list[Finding] = []
    for name in dict.fromkeys(part.file for part in parts):
        try:
            file = pq.ParquetFile(folder / name)
            if key not in file.schema_arrow.names:
                fix = "features has a camera that the rows have not"
                found.append(error(name, key, "is missing in the rows", fix))
                continue
            place = 0
            if _without_bytes(file, key):
                for place, cell in enumerate(file.read(columns=[f"{key}.path"])[key]):
                    # With the path alone; a null stands for bytes that are there, or for nothing.
                    path = (cell.as_py() or {}).get("path")
                    if path:
                        _ = encoded(folder, place, {"path": path}, read=False)
            batch = next(file.iter_batches(batch_size=1, columns=[key]), None)
            if batch is not None:
                picture = picture_of(encoded(folder, 0, batch[key][0].as_py()))
                found += _size(name, key, feature, picture.shape[:2])
        except (OSError, ValueError, pa.ArrowException) as wrong:
            found.append(error(name, key, one_line(wrong), FETCH))
    return found


def _without_bytes(file: pq.ParquetFile, key: str) -> bool:
    """Whether some images may be files beside the rows, by the file's own statistics."""
    data = file.metadata
    for group in range(data.num_row_groups):
        for place in range(data.num_columns):
            column = data.row_group(group).column(place)
            if column.path_in_schema == f"{key}.bytes":
                about = column.statistics
                if about is None or not about.has_null_count or about.null_count:
                    return True
    return False
