"""Episodes from a bag that `ros2 bag record` made on a robot, as the policy node sees them.

Frames are judged, conditioned and brought together by the perception of the stack, fed with the
messages in the order and at the times at which they were recorded. What was commanded is the label:
somebody, or something, drove the arm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from multismolvla.data.bag import PERIOD_NS
from multismolvla.data.episode import Episode, EpisodeError
from multismolvla.data.recorded_bag import BagError
from multismolvla.data.recording import COMMAND, TASK, Recording, open_recording
from multismolvla.embodiment.description import Embodiment
from multismolvla.faults.fault import JOINT_STATES
from multismolvla.modalities.conversion import to_counts
from multismolvla.sensing.synchronizer import SynchronizedSet
from multismolvla.stack.labeller import Segmenter
from multismolvla.stack.recorded_perception import perceived
from multismolvla.stack.settings import StackSettings
from multismolvla.streams import StreamTable

# Of a stream whose images can be read.
NEVER_SOUND = "none of its images is used, for it is not sound; see 'multismolvla bag check'"


@dataclass
class _Stretch:
    """What came while one instruction was in force."""

    instruction: str
    sets: list[SynchronizedSet] = field(default_factory=list)
    states: list[tuple[int, np.ndarray]] = field(default_factory=list)
    # Time of arrival, times of the points, targets.
    commands: list[tuple[int, np.ndarray, np.ndarray]] = field(default_factory=list)


def read_robot_bag(
    folder: str | Path,
    table: StreamTable,
    embodiment: Embodiment,
    namespace: str = "",
    labels: str = "auto",
    segmenter: Callable[[], Segmenter] | None = None,
    settings: StackSettings | None = None,
    topics: Mapping[str, str] | None = None,
) -> list[Episode]:
    """One episode per instruction that was given on `task`, from then to the next message there.

    Where a stream's conditioned images were recorded with its statuses, these are taken. Raw images
    are judged and conditioned here; frames that the live stack would have masked are left out.

    Args:
        embodiment: the arm that was recorded.
        namespace: of the robot's topics.
        labels: where segmentation comes from, see `open_recording`.
        segmenter: makes what labels images that came without; None for no labels.
        settings: of the stack that the recording is shown to; None for the defaults.
        topics: stream, or name of `recording.OTHERS` -> topic, in bags of other stacks.

    Returns:
        the episodes; `notes` of their `meta` says of which streams no image is used, and why.

    Raises:
        EpisodeError: the bag cannot be read, or has no images, joints, commands or instructions.
    """
    folder = Path(folder)
    try:
        recording = open_recording(
            folder, table, embodiment, namespace, topics, labels, judged=True
        )
        makes = None if segmenter is None or recording.labels_recorded else segmenter()
        stretches = list(_split(recording, makes, settings))
    except BagError as error:
        raise EpisodeError(str(error)) from None
    meta = {"source": f"robot:{folder.name}"}
    if recording.bag.damage:
        meta["damage"] = recording.bag.damage
    episodes = [
        _episode(stretch, table, recording.joints, {**meta, "part": number})
        for number, stretch in enumerate(stretches)
        if stretch.sets and stretch.states and stretch.commands
    ]
    if not episodes:
        raise EpisodeError(f"{folder}: {_why_none(recording, stretches)}")
    notes = [
        f"{name}: {recording.complaint(name) or NEVER_SOUND}"
        for name in recording.streams
        if recording.heard[name] and not any(name in episode.frames for episode in episodes)
    ]
    if notes:
        for episode in episodes:
            episode.meta["notes"] = notes
    return episodes


def _why_none(recording: Recording, stretches: list[_Stretch]) -> str:
    """What is missing, or what is wrong with all that is there."""
    sources = [JOINT_STATES, COMMAND, *recording.streams]
    complaints = [text for source in sources if (text := recording.complaint(source))]
    lacks = [name for name in (JOINT_STATES, COMMAND) if name not in recording.topics]
    if TASK not in recording.topics and not recording.first_task:
        lacks.append(TASK)
    if lacks:
        complaints.insert(
            0, f"has no {', '.join(lacks)}; record them, or name their topics with --topics"
        )
    elif not stretches:
        complaints.append("its task is empty all the time")
    if complaints:
        return "; ".join(complaints)
    return (
        "no part of it has usable images, joint_states, joint_trajectory and a task at the same "
        "time; 'multismolvla bag check' says what is odd in it"
    )


def _split(
    recording: Recording, segmenter: Segmenter | None, settings: StackSettings | None
) -> Iterator[_Stretch]:
    stretch = _Stretch(recording.first_task)
    for came in perceived(recording, segmenter, commands=True, settings=settings):
        if isinstance(came, SynchronizedSet):
            stretch.sets.append(came)
        elif came.problem:
            continue
        elif came.source == TASK:
            if stretch.instruction:
                yield stretch
            stretch = _Stretch(came.value)
        elif came.source == JOINT_STATES:
            stretch.states.append((came.stamp_ns, came.value))
        elif came.source == COMMAND:
            stretch.commands.append((came.now_ns, *came.value))
    if stretch.instruction:
        yield stretch


def _episode(stretch: _Stretch, table: StreamTable, joints: tuple[str, ...], meta: dict) -> Episode:
    """Rows at the control rate, counted from the first set of frames."""
    stretch.states.sort(key=lambda entry: entry[0])
    state_ns = np.array([stamp for stamp, _ in stretch.states], np.int64)
    states = np.array([state for _, state in stretch.states])
    start_ns = stretch.sets[0].stamp_ns
    end_ns = max(stretch.sets[-1].stamp_ns, int(state_ns[-1]))
    rows = (end_ns - start_ns + PERIOD_NS // 2) // PERIOD_NS + 1
    stamps_ns = start_ns + np.arange(rows, dtype=np.int64) * PERIOD_NS
    # Relative to the start: a time since 1970 in nanoseconds does not fit into a float64.
    state = np.stack(
        [np.interp(stamps_ns - start_ns, state_ns - start_ns, joint) for joint in states.T], axis=1
    )
    action = _commanded(stretch.commands, stamps_ns, state)
    frames: dict[str, list[np.ndarray]] = {}
    index: dict[str, list[int]] = {}
    for made in stretch.sets:
        row = (made.stamp_ns - start_ns + PERIOD_NS // 2) // PERIOD_NS
        for name, frame in made.messages.items():
            if frame is not None:
                frames.setdefault(name, []).append(to_counts(table[name].modality, frame))
                index.setdefault(name, []).append(row)
    return Episode(
        instruction=stretch.instruction,
        joints=joints,
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
