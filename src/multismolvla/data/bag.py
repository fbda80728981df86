"""Episodes as rosbag2 bags: a folder with an MCAP file, zstd-compressed, that every ROS tool reads.

| topic | type | what |
|---|---|---|
| /STREAM/image | Image | a frame per camera instant; depth 16UC1 mm, thermal 16UC1 centikelvin |
| /joint_states | JointState | a measurement per control step |
| /joint_trajectory | JointTrajectory | what was commanded, one point per step |
| /expert/command | JointTrajectory | the label: one point per step |
| /expert/joint_trajectory | JointTrajectory | the expert's chunk at labelled steps |
| /ground_truth/objects | MarkerArray | object poses per step, where a simulator knew them |
| /task | String | the instruction |

Of an arm that is commanded by steps of its gripper, whose states are no joints:

| topic | type | what |
|---|---|---|
| /arm/state | Float64MultiArray | a measurement per control step |
| /arm/action | Float64MultiArray | the step that was commanded |
| /expert/action | Float64MultiArray | the label: one step per control step |
| /expert/actions | Float64MultiArray | the expert's chunk, a step per row, at labelled steps |

The first dimension is rows; the label of the second one names the numbers, with commas between.

What has no message is in the bag's custom data under the key `multismolvla`, as JSON.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rosbags.interfaces import Connection
from rosbags.rosbag2 import CompressionFormat, CompressionMode, Reader, StoragePlugin, Writer

from multismolvla.data import bag_messages as messages
from multismolvla.data.episode import CHUNK_ROWS, Episode, EpisodeError
from multismolvla.embodiment.description import PERIOD_S, ActionSpace
from multismolvla.modalities.camera_image import numbers
from multismolvla.one_line import one_line

CUSTOM_KEY = "multismolvla"
FORMAT = 1
PERIOD_NS = round(PERIOD_S * 1e9)


class _Topics(NamedTuple):
    """Where the numbers of an arm are."""

    state: str
    command: str
    label: str
    chunk: str


JOINTS = _Topics(
    "/joint_states", "/joint_trajectory", "/expert/command", "/expert/joint_trajectory"
)
STEPS = _Topics("/arm/state", "/arm/action", "/expert/action", "/expert/actions")
OBJECTS, TASK = "/ground_truth/objects", "/task"


def write_episode(folder: str | Path, episode: Episode) -> None:
    """Write a bag; the folder appears complete or not at all, and replaces one of that name.

    Raises:
        OSError: the disk does not take it.
    """
    folder = Path(folder)
    workplace = folder.parent / f".writing-{os.getpid()}"
    shutil.rmtree(workplace, ignore_errors=True)
    workplace.mkdir(parents=True)
    try:
        writer = Writer(workplace / folder.name, version=9, storage_plugin=StoragePlugin.MCAP)
        writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        writer.set_custom_data(CUSTOM_KEY, json.dumps(_custom_data(episode)))
        with writer:
            _write(writer, episode)
        if folder.exists():
            shutil.rmtree(folder)
        (workplace / folder.name).rename(folder)
    finally:
        shutil.rmtree(workplace, ignore_errors=True)


def read_episode(folder: str | Path) -> Episode:
    """Read a bag that `write_episode` wrote.

    Raises:
        EpisodeError: the folder holds no such bag, or it is damaged; one line.
    """
    folder = Path(folder)
    try:
        with Reader(folder) as reader:
            return _read(reader, _read_custom_data(reader))
    # What a damaged bag makes rosbags raise is not one family of errors.
    except Exception as error:
        raise EpisodeError(f"{folder}: cannot read the episode: {one_line(error)}") from None


def is_episode(folder: str | Path) -> bool:
    """Whether the bag in a folder was written by `write_episode`, and not by a recorder."""
    metadata = Path(folder) / "metadata.yaml"
    return metadata.exists() and CUSTOM_KEY in metadata.read_text()


# What lies in the folder of a bag.
BAGS = ("metadata.yaml", "*.mcap", "*.mcap.zstd")


def find_episodes(folder: str | Path) -> list[Path]:
    """Every bag below a folder, finished or cut off, by name; hidden folders are left out."""
    folder = Path(folder)
    found = {path.parent for name in BAGS for path in folder.rglob(name)}
    return sorted(
        path
        for path in found
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def _custom_data(episode: Episode) -> dict:
    space = {}
    if episode.action_space is not None:
        space = {"action_space": dataclasses.asdict(episode.action_space)}
    if episode.deltas:
        space |= {"state": list(episode.joints)}
    return space | {
        "format": FORMAT,
        "instruction": episode.instruction,
        "success": bool(episode.success),
        "meta": dict(episode.meta),
        "streams": list(episode.streams),
        "objects": list(episode.object_poses),
        "masked": {
            stream: np.flatnonzero(~mask).tolist()
            for stream, mask in episode.masks.items()
            if not mask.all()
        },
    }


def _action_space(custom: dict) -> ActionSpace | None:
    """Of an episode; bags of joint targets every `PERIOD_S` do not say it."""
    values = custom.get("action_space")
    if values is None:
        return None
    return ActionSpace(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


def _read_custom_data(reader: Reader) -> dict:
    custom = json.loads((reader.storage.metadata.custom or {}).get(CUSTOM_KEY, "{}"))
    if custom.get("format") != FORMAT:
        raise EpisodeError(f"it is not an episode of format {FORMAT} of multismolvla")
    return custom


def _write(writer: Writer, episode: Episode) -> None:
    connections: dict[str, Connection] = {}

    def add(topic: str, type_name: str) -> None:
        connections[topic] = writer.add_connection(topic, type_name, typestore=messages.typestore())

    def write(topic: str, stamp_ns: int, data: bytes) -> None:
        writer.write(connections[topic], stamp_ns, data)

    frames_at: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for stream in episode.streams:
        add(f"/{stream}/image", messages.IMAGE)
        for number, row in enumerate(episode.frame_index[stream].tolist()):
            frames_at[row].append((stream, number))
    topics = STEPS if episode.deltas else JOINTS
    add(TASK, messages.STRING)
    add(topics.state, messages.NUMBERS if episode.deltas else messages.JOINT_STATE)
    for topic in (topics.command, topics.label, topics.chunk):
        add(topic, messages.NUMBERS if episode.deltas else messages.TRAJECTORY)
    if episode.object_poses:
        add(OBJECTS, messages.MARKERS)
    period_ns = round(episode.period_s * 1e9)
    chunk_offsets_ns = np.arange(episode.chunks.shape[1]) * period_ns

    def state(stamp_ns: int, row: int) -> bytes:
        if episode.deltas:
            return messages.numbers(episode.joints, episode.state[row : row + 1])
        return messages.joint_state(stamp_ns, episode.joints, episode.state[row])

    def actions(stamp_ns: int, offsets_ns: np.ndarray, rows: np.ndarray) -> bytes:
        if episode.deltas:
            return messages.numbers(episode.action_names, rows)
        return messages.trajectory(stamp_ns, episode.joints, offsets_ns, rows)

    chunk_of = {row: number for number, row in enumerate(episode.chunk_index.tolist())}
    next_ns = np.array([period_ns])
    for row, stamp_ns in enumerate(episode.stamps_ns.tolist()):
        if row == 0:
            write(TASK, stamp_ns, messages.text(episode.instruction))
        for stream, number in frames_at[row]:
            frame = episode.frames[stream][number]
            write(f"/{stream}/image", stamp_ns, messages.image(stream, stamp_ns, frame))
        write(topics.state, stamp_ns, state(stamp_ns, row))
        if row in chunk_of:
            chunk = actions(stamp_ns, chunk_offsets_ns, episode.chunks[chunk_of[row]])
            write(topics.chunk, stamp_ns, chunk)
        for topic, given in (
            (topics.label, episode.action),
            (topics.command, episode.executed),
        ):
            write(topic, stamp_ns, actions(stamp_ns, next_ns, given[row : row + 1]))
        if episode.object_poses:
            poses = {name: poses[row] for name, poses in episode.object_poses.items()}
            write(OBJECTS, stamp_ns, messages.objects(stamp_ns, poses))


def _read(reader: Reader, custom: dict) -> Episode:
    stamps: dict[str, list[int]] = defaultdict(list)
    values: dict[str, list] = defaultdict(list)
    store = messages.typestore()
    space = _action_space(custom)
    topics = STEPS if space is not None and space.deltas else JOINTS
    joints: tuple[str, ...] = tuple(custom.get("state", ()))
    for connection, logged_ns, data in reader.messages():
        message = store.deserialize_cdr(data, connection.msgtype)
        topic = connection.topic
        if connection.msgtype == messages.IMAGE:
            value = numbers(message)
        elif connection.msgtype == messages.TRAJECTORY:
            value = np.array([point.positions for point in message.points])
        elif connection.msgtype == messages.JOINT_STATE:
            joints, value = tuple(message.name), message.position[None]
        elif connection.msgtype == messages.NUMBERS:
            value = messages.rows_of(message)
        elif connection.msgtype == messages.MARKERS:
            value = {marker.ns: messages.pose(marker.pose) for marker in message.markers}
        else:
            continue
        # Every message was logged at the instant of its stamp; markers have no common header.
        stamps[topic].append(logged_ns)
        values[topic].append(value)
    rows_ns = np.array(stamps[topics.state], np.int64)
    streams = {stream: f"/{stream}/image" for stream in custom["streams"]}
    masks = {}
    for stream, topic in streams.items():
        masks[stream] = np.ones(len(values[topic]), bool)
        masks[stream][custom["masked"].get(stream, [])] = False
    chunks = np.array(values[topics.chunk], np.float32)
    action = np.concatenate(values[topics.label])
    return Episode(
        instruction=custom["instruction"],
        joints=joints,
        stamps_ns=rows_ns,
        state=np.concatenate(values[topics.state]),
        action=action,
        executed=np.concatenate(values[topics.command]),
        frames={stream: _stack(stream, values[topic]) for stream, topic in streams.items()},
        frame_index={
            stream: np.searchsorted(rows_ns, np.array(stamps[topic], np.int64))
            for stream, topic in streams.items()
        },
        masks=masks,
        object_poses={
            name: np.array([poses[name] for poses in values[OBJECTS]]) for name in custom["objects"]
        },
        success=custom["success"],
        meta=custom["meta"],
        chunks=chunks.reshape(len(chunks), -1 if len(chunks) else CHUNK_ROWS, action.shape[1]),
        chunk_index=np.searchsorted(rows_ns, np.array(stamps[topics.chunk], np.int64)),
        action_space=space,
    )


def _stack(stream: str, frames: list[np.ndarray]) -> np.ndarray:
    if not frames:
        raise EpisodeError(f"stream '{stream}' has no frames")
    return np.stack(frames)
