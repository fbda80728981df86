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

What has no message is in the bag's custom data under the key `multismolvla`, as JSON.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
from rosbags.interfaces import Connection
from rosbags.rosbag2 import CompressionFormat, CompressionMode, Reader, StoragePlugin, Writer

from multismolvla.data import bag_messages as messages
from multismolvla.data.episode import CHUNK_ROWS, PERIOD_S, Episode, EpisodeError

CUSTOM_KEY = "multismolvla"
FORMAT = 1
PERIOD_NS = round(PERIOD_S * 1e9)
JOINTS, COMMAND = "/joint_states", "/joint_trajectory"
LABEL, CHUNK = "/expert/command", "/expert/joint_trajectory"
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
        raise EpisodeError(f"{folder}: cannot read the episode: {_one_line(error)}") from None


def is_episode(folder: str | Path) -> bool:
    """Whether the bag in a folder was written by `write_episode`, and not by a recorder."""
    metadata = Path(folder) / "metadata.yaml"
    return metadata.exists() and CUSTOM_KEY in metadata.read_text()


def find_episodes(folder: str | Path) -> list[Path]:
    """Every bag below a folder, finished or cut off, by name; hidden folders are left out."""
    folder = Path(folder)
    found = {path.parent for name in ("metadata.yaml", "*.mcap") for path in folder.rglob(name)}
    return sorted(
        path
        for path in found
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def _custom_data(episode: Episode) -> dict:
    return {
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
    add(TASK, messages.STRING)
    add(JOINTS, messages.JOINT_STATE)
    for topic in (COMMAND, LABEL, CHUNK):
        add(topic, messages.TRAJECTORY)
    if episode.object_poses:
        add(OBJECTS, messages.MARKERS)
    chunk_offsets_ns = np.arange(episode.chunks.shape[1]) * PERIOD_NS
    chunk_of = {row: number for number, row in enumerate(episode.chunk_index.tolist())}
    next_ns = np.array([PERIOD_NS])
    for row, stamp_ns in enumerate(episode.stamps_ns.tolist()):
        if row == 0:
            write(TASK, stamp_ns, messages.text(episode.instruction))
        for stream, number in frames_at[row]:
            frame = episode.frames[stream][number]
            write(f"/{stream}/image", stamp_ns, messages.image(stream, stamp_ns, frame))
        write(JOINTS, stamp_ns, messages.joint_state(stamp_ns, episode.joints, episode.state[row]))
        if row in chunk_of:
            chunk = episode.chunks[chunk_of[row]]
            write(
                CHUNK,
                stamp_ns,
                messages.trajectory(stamp_ns, episode.joints, chunk_offsets_ns, chunk),
            )
        for topic, targets in ((LABEL, episode.action), (COMMAND, episode.executed)):
            command = messages.trajectory(stamp_ns, episode.joints, next_ns, targets[row : row + 1])
            write(topic, stamp_ns, command)
        if episode.object_poses:
            poses = {name: poses[row] for name, poses in episode.object_poses.items()}
            write(OBJECTS, stamp_ns, messages.objects(stamp_ns, poses))


def _read(reader: Reader, custom: dict) -> Episode:
    stamps: dict[str, list[int]] = defaultdict(list)
    values: dict[str, list] = defaultdict(list)
    store = messages.typestore()
    joints: tuple[str, ...] = ()
    for connection, logged_ns, data in reader.messages():
        message = store.deserialize_cdr(data, connection.msgtype)
        topic = connection.topic
        if connection.msgtype == messages.IMAGE:
            value = messages.pixels(message)
        elif connection.msgtype == messages.TRAJECTORY:
            value = np.array([point.positions for point in message.points])
        elif connection.msgtype == messages.JOINT_STATE:
            joints, value = tuple(message.name), message.position
        elif connection.msgtype == messages.MARKERS:
            value = {marker.ns: messages.pose(marker.pose) for marker in message.markers}
        else:
            continue
        # Every message was logged at the instant of its stamp; markers have no common header.
        stamps[topic].append(logged_ns)
        values[topic].append(value)
    rows_ns = np.array(stamps[JOINTS], np.int64)
    streams = {stream: f"/{stream}/image" for stream in custom["streams"]}
    masks = {}
    for stream, topic in streams.items():
        masks[stream] = np.ones(len(values[topic]), bool)
        masks[stream][custom["masked"].get(stream, [])] = False
    chunks = np.array(values[CHUNK], np.float32)
    return Episode(
        instruction=custom["instruction"],
        joints=joints,
        stamps_ns=rows_ns,
        state=np.array(values[JOINTS]),
        action=np.concatenate(values[LABEL]),
        executed=np.concatenate(values[COMMAND]),
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
        chunks=chunks.reshape(len(chunks), -1 if len(chunks) else CHUNK_ROWS, len(joints)),
        chunk_index=np.searchsorted(rows_ns, np.array(stamps[CHUNK], np.int64)),
    )


def _stack(stream: str, frames: list[np.ndarray]) -> np.ndarray:
    if not frames:
        raise EpisodeError(f"stream '{stream}' has no frames")
    return np.stack(frames)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
