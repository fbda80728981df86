"""The demo's status line: redrawn on a terminal, one line per change everywhere else."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.live import Live
from rich.text import Text

from multismolvla.pictures.episode_log import EpisodeLog, Sample

RED, YELLOW = "bold red", "yellow"
# Why a sound stream is not used: this machine is slow, and no sensor is broken.
LATE_REASONS = ("late_here", "image late", "image skipped")
_WORDS = {"stale": "lost there", "late_here": "late here", "image late": "late here"}


def streams_text(
    mask: Mapping[str, bool], reasons: Mapping[str, str], cut: tuple[str, ...] = ()
) -> Text:
    """How many streams are in use, and which are not: cut or lost in red, late in yellow.

    Args:
        mask: stream -> the policy uses it.
        reasons: masked stream -> why.
        cut: streams whose cameras were cut on purpose.
    """
    text = Text(f"{sum(mask.values())}/{len(mask)} streams")
    for name in (name for name, used in mask.items() if not used):
        reason = reasons.get(name, "")
        if name in cut:
            text.append(f", {name} cut", RED)
        elif reason in LATE_REASONS:
            text.append(f", {name} {_WORDS.get(reason, reason)}", YELLOW)
        else:
            text.append(f", {name} masked ({_WORDS.get(reason, reason) or 'no reason'})", RED)
    return text


def overload_text(sample: Sample) -> Text:
    """The overload, and what is given up for it; empty without one."""
    if not sample.overload:
        return Text()
    shed = f" (reduced: {', '.join(sample.shed)})" if sample.shed else ""
    return Text(f" | {sample.overload}{shed}", YELLOW)


class StatusLine:
    """Shows the running episode; a context manager.

    Args:
        episodes: how many there will be.
    """

    def __init__(self, episodes: int, console: Console | None = None) -> None:
        self._episodes = episodes
        self._console = console or Console()
        self._live = Live(console=self._console, refresh_per_second=8, transient=True)
        self._successes = 0
        self._number = 0
        self._last: tuple = ()

    def __enter__(self) -> StatusLine:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def say(self, text: str) -> None:
        """Replace the live line, or print it where nothing is live."""
        self._show(Text(text), (text,))

    def begin(self, number: int) -> None:
        """The episode of this number, from 1, begins."""
        self._number = number

    def sample(self, episode: EpisodeLog, sample: Sample) -> None:
        """Show the newest sample; called at every one."""
        cut = episode.fault[1] if episode.fault else ()
        streams = streams_text(sample.mask, sample.mask_reason, cut)
        line = Text(f"[{self._number}/{self._episodes}] ")
        if self._console.is_terminal:
            line.append(f"{sample.time_s - episode.start_s:4.1f} s ")
        line.append(sample.mode, RED if sample.mode == "hold" else "")
        line.append(" | ").append_text(streams).append_text(overload_text(sample))
        if self._console.is_terminal:
            # What changes most comes last: a narrow terminal cuts it off.
            line.append(
                f" | {self._successes}/{self._number - 1} ok | queue {sample.queue_length:2d} | "
                f"{sample.control_rate_hz:.0f} Hz, {sample.latency_ms:.0f} ms"
            )
        line.append(f" | {episode.instruction}")
        # How late exactly changes all the time; that it is late is a change.
        self._show(
            line, (self._number, sample.mode, streams.plain, bool(sample.overload), sample.shed)
        )

    def end(self, episode: EpisodeLog) -> None:
        """The episode is over: a line that stays."""
        self._successes += episode.success
        fault = f", {' and '.join(episode.fault[1])} cut" if episode.fault else ""
        outcome = f"success in {episode.success_time_s:.1f} s" if episode.success else "FAILED"
        self._console.print(
            f"episode {self._number}/{self._episodes}, seed {episode.seed}{fault}: {outcome}"
        )

    def _show(self, line: Text, state: tuple) -> None:
        line.no_wrap, line.overflow = True, "ellipsis"
        if self._console.is_terminal:
            self._live.update(line)
        elif state != self._last:
            print(line.plain, file=self._console.file, flush=True)
        self._last = state
