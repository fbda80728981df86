"""What came of one episode, and the file of lines that keeps many of them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path


@dataclass(frozen=True)
class EpisodeKey:
    """What an episode is; two with the same key are the same one.

    Attributes:
        policy: name of the policy, or path of its checkpoint.
        condition: see `conditions`.
        task, seed: of the scene.
        masks: `detector` or `oracle`.
        execution: `asynchronous` or `synchronous`.
        latency_s: simulated duration of an inference.
        queue_threshold: share of a chunk left when the next inference starts, None for `auto`: as
            late as the latency allows. A synchronous robot drops that share, None is none of it.
        chunk_entry: at which row a new chunk is merged, a name in `control.action_queue.ENTRIES`.
        noise_scale: of the noise that a checkpoint's chunks begin with.
    """

    policy: str
    condition: str
    task: str
    seed: int
    masks: str = "detector"
    execution: str = "asynchronous"
    latency_s: float = 0.1
    queue_threshold: float | None = None
    chunk_entry: str = "nearest"
    noise_scale: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """What came of it.

    Attributes:
        success: every goal of the task was reached in time.
        duration_s: from the instruction to success, or to the time limit.
        onset_s: when the damage began, counted from the instruction; None for none, 0 for before.
        masked_after_s: damaged stream -> time from the onset until it was masked; None for never.
        false_mask_share: share of the time in which a sound stream was masked, over sound streams.
        jerk_rad_s3: root mean square of the joints' jerk.
        limit_hits: how often a command went beyond the limit of a joint.
        inferences: chunks executed.
        starved_ticks: control periods in which the queue had run dry.
        hold_share: share of the time in which the arm was held because too little was seen.
        policy_error: the last error of the policy, or "".
    """

    key: EpisodeKey
    success: bool
    duration_s: float
    onset_s: float | None = None
    masked_after_s: dict[str, float | None] = field(default_factory=dict)
    false_mask_share: float = 0.0
    jerk_rad_s3: float = 0.0
    limit_hits: int = 0
    inferences: int = 0
    starved_ticks: int = 0
    hold_share: float = 0.0
    policy_error: str = ""

    def to_line(self) -> str:
        """One line of JSON."""
        values = asdict(self)
        return json.dumps({**values.pop("key"), **values})


def from_line(line: str) -> Outcome:
    """Read what `to_line` wrote.

    Raises:
        ValueError: the line is damaged or of another version.
    """
    values = json.loads(line)
    names = {f.name for f in fields(EpisodeKey)}
    try:
        key = EpisodeKey(**{name: values.pop(name) for name in names})
        return Outcome(key, **values)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not an outcome of this version: {error}") from None


class OutcomeLog:
    """Outcomes in a file of lines that a killed run can be continued from.

    Raises:
        ValueError: a line other than the last is damaged; names file and line.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.outcomes: dict[EpisodeKey, Outcome] = {}
        text = path.read_text() if path.exists() else ""
        # A run that was killed in the middle of a line left it without an end.
        whole, _, cut = text.rpartition("\n")
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                outcome = from_line(line)
            except ValueError as error:
                raise ValueError(f"{path}: line {number}: {error}") from None
            self.outcomes[outcome.key] = outcome
        if cut:
            path.write_text(f"{whole}\n" if whole else "")

    def add(self, outcome: Outcome) -> None:
        """Keep an outcome, on disk at once."""
        self.outcomes[outcome.key] = outcome
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            file.write(outcome.to_line() + "\n")
