"""Reads LeRobot data sets v3.0: our own without loss, the community's with a map of cameras."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from multismolvla.data import lerobot_layout as layout
from multismolvla.data.episode import CHUNK_ROWS, Episode, EpisodeError
from multismolvla.data.lerobot_joints import radians_of
from multismolvla.data.lerobot_pictures import Pictures, Resize
from multismolvla.data.lerobot_rows import Part
from multismolvla.data.lerobot_set import NOTHING, Given, open_set, refusal, sentence
from multismolvla.data.lerobot_tables import format_path, numbers
from multismolvla.embodiment.description import Embodiment
from multismolvla.modalities.registry import modality_of
from multismolvla.one_line import one_line

# How much of a period the last stamp may lack for another row: stamps are 32-bit floats.
_ROUNDING = 0.02


def is_lerobot(folder: Path) -> bool:
    """Whether the folder holds a LeRobot data set, of whatever version."""
    return (folder / layout.INFO).is_file()


class LeRobotReader:
    """The episodes of a data set by their number.

    An episode with a gap in time, a change of the instruction or rows without numbers is read as
    several, so that no chunk of actions runs across; `warnings` says so.

    Args:
        folder: of the data set.
        embodiment: the arm that it is of.
        cameras: camera of the data set, with or without `observation.images.` -> our stream. For
            the data sets of others; streams that no camera is mapped to do not exist in the
            episodes, which masks them in training. Ours know their own; without a map, cameras
            that `Embodiment.lerobot` names are known as well.
        given: units and names that a data set of others does not say.
        resize: (stream, frame) -> frame, for cameras of another size than the stream's.
    """

    def __init__(
        self,
        folder: str | Path,
        embodiment: Embodiment,
        cameras: Mapping[str, str] | None = None,
        given: Given = NOTHING,
        resize: Resize | None = None,
    ) -> None:
        """
        Raises:
            EpisodeError: it is no data set v3.0 of this arm, something is wrong with it, or a
                camera is not in it.
        """
        self.folder = Path(folder)
        self._embodiment = embodiment
        self._set = open_set(self.folder, embodiment, given, cameras)
        wrong = refusal(self.folder, self._set.findings)
        if wrong:
            raise EpisodeError(wrong)
        self._info, self._own = self._set.info, self._set.own
        self._radians = radians_of(embodiment, self._set.units, given.travel_rad)
        self._pictures = Pictures(self.folder, resize)
        self._cameras = self._choose_cameras(cameras)

    def __len__(self) -> int:
        """Number of episodes."""
        return len(self._set.parts)

    @property
    def warnings(self) -> list[str]:
        """What is odd with the data set, and what was made of it; one line each."""
        return [sentence(self.folder, finding) for finding in self._set.findings]

    def name(self, number: int) -> str:
        """`000003`, or `000003-1` for the second part of episode 3."""
        return self._set.parts[number].name

    def read(self, number: int) -> Episode:
        """Read an episode.

        Raises:
            EpisodeError: its files are missing, damaged or not decodable; one line.
        """
        part = self._set.parts[number]
        path = self.folder / part.file
        try:
            chosen = [("episode_index", "=", part.episode)]
            table = pq.read_table(path, filters=chosen, columns=self._columns(path))
            table = table.take(pa.array(part.rows)).combine_chunks()
            make = self._own_episode if self._own else self._foreign_episode
            return make(part, table)
        except (OSError, ValueError, KeyError, pa.ArrowException, cv2.error) as error:
            reason = one_line(error)
            raise EpisodeError(f"{path}: episode {part.episode}: {reason}") from None

    def _columns(self, path: Path) -> list[str]:
        """Those of a file that are used, which may leave large images alone."""
        unused = set(self._info.cameras) - set(self._cameras)
        return [name for name in pq.ParquetFile(path).schema_arrow.names if name not in unused]

    def _own_episode(self, part: Part, table: pa.Table) -> Episode:
        entry, rows = part.entry, len(table)
        fresh, available = numbers(table[layout.FRESH]), numbers(table[layout.AVAILABLE])
        frames, frame_index, masks = {}, {}, {}
        order = {stream: place for place, stream in enumerate(self._own["cameras"].values())}
        for key, stream in self._cameras.items():
            if stream not in entry["streams"]:
                continue
            index = np.flatnonzero(fresh[:, order[stream]])
            images = table[key].take(pa.array(index))
            frames[stream] = self._pictures.of_cells(stream, images, self._info.features[key])
            frame_index[stream], masks[stream] = index, available[index, order[stream]].astype(bool)
        actions = len(self._embodiment.action_names)
        chunks = numbers(table[layout.CHUNK]).reshape(rows, CHUNK_ROWS, actions)
        known = np.isfinite(chunks).all(2)
        chunk_index = np.flatnonzero(known[:, 0])
        length = int(known[chunk_index].all(0).sum()) if len(chunk_index) else CHUNK_ROWS
        poses = {}
        if self._own["objects"]:
            values = numbers(table[layout.OBJECTS]).astype(np.float64)
            for place, name in enumerate(self._own["objects"]):
                if name in entry["objects"]:
                    poses[name] = values[:, 7 * place : 7 * place + 7]
        return Episode(
            instruction=part.instruction,
            joints=self._embodiment.state_names,
            stamps_ns=self._stamps_ns(rows),
            state=self._numbers(table, layout.STATE),
            action=self._numbers(table, layout.ACTION),
            executed=self._numbers(table, layout.ACTION, layout.EXECUTED),
            frames=frames,
            frame_index=frame_index,
            masks=masks,
            object_poses=poses,
            success=entry["success"],
            meta=json.loads(entry["meta"]),
            chunks=chunks[chunk_index, :length],
            chunk_index=chunk_index,
            action_space=self._embodiment.action,
        )

    def _foreign_episode(self, part: Part, table: pa.Table) -> Episode:
        """Joints interpolated to our control rate, each frame at the row nearest to it.

        Steps are not interpolated: the rows are the arm's control steps, whatever rate the data set
        claims. LIBERO's say 10 a second, and are of a controller that takes 20.
        """
        space = self._embodiment.action_space
        count, period_s = len(table), space.period_s
        times_s = np.arange(count) * period_s if space.deltas else part.times_s - part.times_s[0]
        rows_s = np.arange(int(times_s[-1] / period_s + _ROUNDING) + 1) * period_s
        index = np.minimum(np.rint(times_s / period_s).astype(np.int64), len(rows_s) - 1)

        def at_our_rate(key: str) -> np.ndarray:
            values = self._numbers(table, key)
            if space.deltas:
                return values
            return np.stack([np.interp(rows_s, times_s, joint) for joint in values.T], axis=1)

        frames = {}
        for key, stream in self._cameras.items():
            feature = self._info.features[key]
            if feature.dtype == "video":
                path = self.folder / format_path(
                    self._info.video_path, part.entry, f"videos/{key}", video_key=key
                )
                wanted_s = part.entry[f"videos/{key}/from_timestamp"] + part.times_s
                frames[stream] = self._pictures.of_video(
                    stream, feature, path, wanted_s, self._info.fps
                )
            else:
                frames[stream] = self._pictures.of_cells(stream, table[key], feature)
        action = at_our_rate(layout.ACTION)
        return Episode(
            instruction=part.instruction,
            joints=self._embodiment.state_names,
            stamps_ns=self._stamps_ns(len(rows_s)),
            state=at_our_rate(layout.STATE),
            action=action,
            executed=action,
            frames=frames,
            frame_index=dict.fromkeys(frames, index),
            masks=dict.fromkeys(frames, np.ones(count, bool)),
            object_poses={},
            # Data sets rarely hold failed demonstrations.
            success=True,
            meta={"source": f"lerobot:{self.folder.name}", "episode": part.episode},
            action_space=self._embodiment.action,
        )

    def _stamps_ns(self, rows: int) -> np.ndarray:
        period_ns = round(self._embodiment.action_space.period_s * 1e9)
        return np.arange(rows, dtype=np.int64) * period_ns

    def _numbers(self, table: pa.Table, key: str, column: str = "") -> np.ndarray:
        """(rows, width) of `STATE` or `ACTION`, or of another column that holds the same."""
        values = numbers(table[column or key])[:, self._set.orders[key]]
        if not layout.is_joints(self._embodiment, key):
            return values.astype(np.float64)
        return self._radians(values)

    def _choose_cameras(self, cameras: Mapping[str, str] | None) -> dict[str, str]:
        """Feature -> stream."""
        known = self._info.cameras
        if cameras is None:
            named = {
                layout.camera_key(stream, self._embodiment): stream
                for stream, _ in self._embodiment.lerobot.cameras
            }
            if self._own is None and named and named.keys() <= set(known):
                return named
            if self._own is None:
                raise EpisodeError(
                    f"{self.folder}: say which camera is which stream; "
                    f"the data set has {', '.join(known) or 'none'}"
                )
            return self._checked_cameras(dict(self._own["cameras"]))
        chosen = {}
        for name, stream in cameras.items():
            key = name if name in known else f"{layout.CAMERA_PREFIX}{name}"
            if key not in known:
                raise EpisodeError(
                    f"{self.folder}: has no camera '{name}'; it has {', '.join(known)}"
                )
            chosen[key] = stream
        return self._checked_cameras(chosen)

    def _checked_cameras(self, chosen: dict[str, str]) -> dict[str, str]:
        for key, stream in chosen.items():
            if key not in self._info.features:
                raise EpisodeError(
                    f"{self.folder / layout.OWN}: cameras.{key}: is not in {layout.INFO}"
                )
            modality = modality_of(stream)  # refuses a stream of no kind
            feature = self._info.features[key]
            if feature.depth and modality.name != "depth":
                raise EpisodeError(
                    f"{self.folder}: {key} is a depth map; it cannot be '{stream}', only a stream "
                    "of depth"
                )
            if feature.dtype == "video" and not feature.depth and modality.channels != 3:
                raise EpisodeError(
                    f"{self.folder}: {key} is a video of colours; it cannot be '{stream}'"
                )
            if self._own is None and modality.counts.offset:
                # Without a zero, the numbers of somebody else's camera are no temperatures.
                raise EpisodeError(
                    f"{self.folder}: {key} cannot be '{stream}': a LeRobot data set does not say "
                    f"what its counts are in {modality.unit}"
                )
        return chosen
