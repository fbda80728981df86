"""Episodes from a bag that `ros2 bag record` made on a robot, through the live nodes' own code.

Frames are conditioned as the sensor nodes do it and brought together by the synchroniser of the
policy node, fed with the messages in the order and at the times at which they were recorded. What
was commanded is the label: somebody, or something, drove the arm.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rosbags.rosbag2 import Reader

from multismolvla.arm import JOINT_NAMES
from multismolvla.data import bag_messages as messages
from multismolvla.data.bag import PERIOD_NS
from multismolvla.data.episode import Episode, EpisodeError
from multismolvla.data.units import to_counts
from multismolvla.sensing.conditioning import condition
from multismolvla.sensing.synchronizer import SynchronizedSet, Synchronizer
from multismolvla.streams import StreamTable

# The policy node's defaults (config/policy_node.yaml).
SLOP_NS, MAX_WAIT_NS = 30_000_000, 100_000_000


@dataclass
class _Recording:
    """One instruction's stretch of a bag."""

    instruction: str
    sets: list[SynchronizedSet] = field(default_factory=list)
    states: list[tuple[int, np.ndarray]] = field(default_factory=list)
    # Time of arrival, times of the points, targets.
    commands: list[tuple[int, np.ndarray, np.ndarray]] = field(default_factory=list)


def read_robot_bag(folder: str | Path, table: StreamTable, namespace: str = "") -> list[Episode]:
    """One episode per instruction that was given on `task`, from then to the next message there.

    `STREAM/image` is taken, or `STREAM/image_raw` where that was not recorded. A stream counts as
    alive while its recorded `STREAM/status` says so, or always where no status was recorded.

    Args:
        namespace: of the robot's topics.

    Raises:
        EpisodeError: the bag cannot be read, or has no images, joints, commands or instructions.
    """
    folder = Path(folder)
    try:
        with Reader(folder) as reader:
            recordings = list(_split(reader, table, f"/{namespace.strip('/')}".rstrip("/")))
    except EpisodeError:
        raise
    # What a damaged bag makes rosbags raise is not one family of errors.
    except Exception as error:
        raise EpisodeError(f"{folder}: cannot read it: {' '.join(str(error).split())}") from None
    episodes = [
        _episode(recording, table, {"source": f"robot:{folder.name}", "part": number})
        for number, recording in enumerate(recordings)
        if recording.sets and recording.states and recording.commands
    ]
    if not episodes:
        raise EpisodeError(
            f"{folder}: has no stretch with images, joint_states, joint_trajectory and a task; "
            "record all of them"
        )
    return episodes


def _split(reader: Reader, table: StreamTable, prefix: str) -> Iterator[_Recording]:
    """Recordings by instruction; the images' messages stay as they are."""
    topics = {connection.topic for connection in reader.connections}
    image_of, status_of = {}, {}
    for stream in table:
        conditioned = f"{prefix}/{stream.name}/image"
        for topic in (conditioned, f"{conditioned}_raw"):
            if topic in topics:
                image_of[topic] = stream.name
                break
        status_of[f"{prefix}/{stream.name}/status"] = stream.name
    if not image_of:
        raise EpisodeError(f"{reader.path}: has images of no stream of the table")
    synchronizer = Synchronizer(list(image_of.values()), SLOP_NS, MAX_WAIT_NS)
    for topic in status_of.keys() & topics:
        if status_of[topic] in image_of.values():
            # As in the policy node: lost until the first status says something else.
            synchronizer.set_alive(status_of[topic], False, 0)
    recording = _Recording("")
    store = messages.typestore()
    for connection, now_ns, data in reader.messages():
        while (deadline_ns := synchronizer.deadline_ns) is not None and deadline_ns <= now_ns:
            recording.sets += synchronizer.tick(deadline_ns)
        topic = connection.topic
        if topic in image_of:
            message = store.deserialize_cdr(data, connection.msgtype)
            stamp_ns = messages.stamp_of(message.header)
            recording.sets += synchronizer.add(image_of[topic], stamp_ns, message, now_ns)
        elif topic in status_of and status_of[topic] in image_of.values():
            message = store.deserialize_cdr(data, connection.msgtype)
            alive = not any(
                pair.key == "state" and pair.value == "LOST"
                for status in message.status
                for pair in status.values
            )
            recording.sets += synchronizer.set_alive(status_of[topic], alive, now_ns)
        elif topic == f"{prefix}/task":
            instruction = store.deserialize_cdr(data, connection.msgtype).data.strip()
            if recording.instruction:
                yield recording
            recording = _Recording(instruction)
        elif topic == f"{prefix}/joint_states":
            message = store.deserialize_cdr(data, connection.msgtype)
            state = messages.joint_positions(message)
            if np.isfinite(state).all():
                recording.states.append((messages.stamp_of(message.header), state))
        elif topic == f"{prefix}/joint_trajectory":
            message = store.deserialize_cdr(data, connection.msgtype)
            if tuple(message.joint_names) == JOINT_NAMES and message.points:
                recording.commands.append((now_ns, *messages.points(message, now_ns)))
    if recording.instruction:
        yield recording


def _episode(recording: _Recording, table: StreamTable, meta: dict) -> Episode:
    """Rows at the control rate, counted from the first set of frames."""
    recording.states.sort(key=lambda entry: entry[0])
    state_ns = np.array([stamp for stamp, _ in recording.states], np.int64)
    states = np.array([state for _, state in recording.states])
    start_ns = recording.sets[0].stamp_ns
    end_ns = max(recording.sets[-1].stamp_ns, int(state_ns[-1]))
    rows = (end_ns - start_ns + PERIOD_NS // 2) // PERIOD_NS + 1
    stamps_ns = start_ns + np.arange(rows, dtype=np.int64) * PERIOD_NS
    # Relative to the start: a time since 1970 in nanoseconds does not fit into a float64.
    state = np.stack(
        [np.interp(stamps_ns - start_ns, state_ns - start_ns, joint) for joint in states.T], axis=1
    )
    action = _commanded(recording.commands, stamps_ns, state)
    frames: dict[str, list[np.ndarray]] = {}
    index: dict[str, list[int]] = {}
    for made in recording.sets:
        row = (made.stamp_ns - start_ns + PERIOD_NS // 2) // PERIOD_NS
        for name, message in made.messages.items():
            frame = None if message is None else _frame(table, name, message)
            if frame is not None:
                frames.setdefault(name, []).append(frame)
                index.setdefault(name, []).append(row)
    return Episode(
        instruction=recording.instruction,
        stamps_ns=stamps_ns,
        state=state,
        action=action,
        executed=action,
        frames={name: np.stack(taken) for name, taken in frames.items()},
        frame_index={name: np.array(rows, np.int64) for name, rows in index.items()},
        masks={name: np.ones(len(rows), bool) for name, rows in index.items()},
        object_poses={},
        # Whoever keeps a recording to learn from holds it for a good one.
        success=True,
        meta=meta,
    )


def _commanded(
    commands: list[tuple[int, np.ndarray, np.ndarray]], stamps_ns: np.ndarray, state: np.ndarray
) -> np.ndarray:
    """Per row the newest trajectory's target one period later; before the first, the state."""
    action = state.copy()
    arrivals = np.array([arrival for arrival, _, _ in commands], np.int64)
    newest = np.searchsorted(arrivals, stamps_ns, side="right") - 1
    for row, number in enumerate(newest.tolist()):
        if number >= 0:
            _, times_ns, targets = commands[number]
            due = stamps_ns[row] + PERIOD_NS - times_ns[0]
            action[row] = [np.interp(due, times_ns - times_ns[0], joint) for joint in targets.T]
    return action


def _frame(table: StreamTable, name: str, message: object) -> np.ndarray | None:
    """The stored frame; None where the sensor node would have refused the image."""
    stream = table[name]
    try:
        raw = messages.pixels(message)
        return to_counts(stream.kind, condition(stream.kind, raw, stream.height, stream.width))
    except ValueError:
        return None
