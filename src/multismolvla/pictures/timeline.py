"""The timeline of a run: which streams were used, how full the queue was, how the arm moved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np

from multismolvla.embodiment.description import Embodiment
from multismolvla.pictures.episode_log import EpisodeLog
from multismolvla.streams import StreamTable

matplotlib.use("Agg")
import matplotlib.pyplot as plt

USED, MASKED = "#4c9f70", "#d1495b"


def write_timeline(
    path: Path, table: StreamTable, arm: Embodiment, episodes: Sequence[EpisodeLog]
) -> None:
    """Write a PNG with one time axis for streams, masks, queue and the arm's state.

    Beside joints it has what they are commanded; steps are no states and are left out.

    Raises:
        ValueError: the run has no samples.
    """
    if not any(episode.samples for episode in episodes):
        raise ValueError("the run has no samples to draw; did the policy node publish its status?")
    figure, (streams, queue, states) = plt.subplots(
        3, 1, figsize=(14, 9), sharex=True, height_ratios=(3, 1.5, 4), layout="constrained"
    )
    for episode in episodes:
        _draw_streams(streams, table, episode)
        times = [sample.time_s for sample in episode.samples]
        queue.plot(times, [sample.queue_length for sample in episode.samples], color="#30638e")
        _draw_states(states, arm, episode, label=episode is episodes[0])
        for axes in (streams, queue, states):
            axes.axvline(episode.start_s, color="0.6", linewidth=0.8, linestyle=":")
            if episode.fault:
                axes.axvline(episode.fault[0], color=MASKED, linewidth=1.2, linestyle="--")
        mark = "success" if episode.success else "FAILED"
        streams.annotate(
            f"seed {episode.seed}: {mark}", (episode.start_s, -0.9), fontsize=8, color="0.2"
        )
        if episode.fault:
            streams.annotate(
                f" cut: {', '.join(episode.fault[1])}",
                (episode.fault[0], len(table) - 0.25),
                fontsize=8,
                color=MASKED,
            )
    streams.set_yticks(range(len(table)), table.names, fontsize=8)
    streams.set_ylim(len(table) - 0.1, -1.4)
    streams.set_title("streams: green = used by the policy, red = masked", fontsize=10, loc="left")
    queue.set_ylabel("actions queued")
    states.set_ylabel(
        "joint position (rad)\nsolid measured, dotted commanded"
        if arm.commands_joints
        else "state of the arm (m, rad)"
    )
    states.set_xlabel("time (s)")
    states.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _draw_streams(axes, table: StreamTable, episode: EpisodeLog) -> None:
    times = [sample.time_s for sample in episode.samples] + [episode.end_s]
    for row, name in enumerate(table.names):
        for used, colour in ((True, USED), (False, MASKED)):
            bars = [
                (start, max(0.0, end - start))
                for start, end, sample in zip(times, times[1:], episode.samples, strict=False)
                if sample.mask.get(name, False) is used
            ]
            axes.broken_barh(bars, (row - 0.4, 0.8), color=colour, linewidth=0)


def _draw_states(axes, arm: Embodiment, episode: EpisodeLog, label: bool) -> None:
    names = arm.state_names
    missing = np.full(len(names), np.nan)
    times = [sample.time_s for sample in episode.samples]
    lines = {"state": "-", "target": ":"} if arm.commands_joints else {"state": "-"}
    for attribute, style in lines.items():
        rows = [getattr(sample, attribute) for sample in episode.samples]
        values = np.array([missing if row is None else row for row in rows])
        if not len(values):
            continue
        for column, name in enumerate(names):
            axes.plot(
                times,
                values[:, column],
                style,
                color=f"C{column}",
                linewidth=1.2,
                label=name if label and style == "-" else None,
            )
