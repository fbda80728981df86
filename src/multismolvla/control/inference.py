"""When an inference starts, and what happens with its chunk."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multismolvla.control.action_queue import ActionQueue, QueueLevel
from multismolvla.embodiment.description import ActionSpace
from multismolvla.interfaces import ActionChunk, Observation, Policy
from multismolvla.modalities.registry import modality_of

# Skipping observations that contain nothing new for the policy.
#
# The idea is LeRobot's: skip an observation whose joint positions are close to those of the last
# one processed, unless the queue is empty (must-go). Three of its traps are closed here: the
# tolerance is in radians, a still robot still sees (the frames and the mask count, too), and only
# an inference that gave a chunk makes an observation 'processed', so that a failed one can always
# be repeated.

# A thumbnail of at most this many pixels a side is compared.
_SIDE = 24
# Share of changed pixels that makes a frame different: 4 of 24 x 24, a small object that moves.
_CHANGED_SHARE = 0.006


class ObservationFilter:
    """Compares an observation with the last one that led to a chunk.

    Args:
        tolerance_rad: largest joint difference that still counts as the same pose, radians; 0
            lets every observation through.
    """

    def __init__(self, tolerance_rad: float) -> None:
        self._tolerance_rad = tolerance_rad
        self._last: Observation | None = None
        self._thumbnails: dict[str, np.ndarray] = {}

    def is_new(self, observation: Observation, *, must_go: bool) -> bool:
        """True if the policy should see this observation."""
        last = self._last
        if must_go or last is None or observation.task != last.task:
            return True
        if dict(observation.mask) != dict(last.mask):
            return True
        # `not <` and not `>=`: a NaN in the state is a change, never 'the same'.
        if not np.max(np.abs(observation.state - last.state)) < self._tolerance_rad:
            return True
        return any(
            _differs(name, self._thumbnails.get(name), _thumbnail(frame))
            for name, frame in observation.frames.items()
            if frame is not None and observation.mask.get(name, False)
        )

    def processed(self, observation: Observation) -> None:
        """Remember an observation that led to a chunk."""
        self._last = observation
        self._thumbnails = {
            name: _thumbnail(frame)
            for name, frame in observation.frames.items()
            if frame is not None and observation.mask.get(name, False)
        }

    def reset(self) -> None:
        """Forget: the next observation is new."""
        self._last = None
        self._thumbnails = {}


def _thumbnail(frame: np.ndarray) -> np.ndarray:
    step_y, step_x = (-(-size // _SIDE) for size in frame.shape[:2])
    return frame[::step_y, ::step_x].astype(np.float32)


def _differs(stream: str, old: np.ndarray | None, new: np.ndarray) -> bool:
    if old is None or old.shape != new.shape:
        return True
    # NaN (no return) compares False: a depth camera's flickering holes are no change.
    changed = np.abs(new - old) > modality_of(stream).pixel_step
    if changed.ndim == 3:
        changed = changed.any(axis=2)
    return bool(changed.mean() > _CHANGED_SHARE)


# When the next inference starts.
#
# SmolVLA (arXiv 2506.01844, section 3.3, asynchronous inference) infers when the queue holds less
# than a fraction g of a chunk, and shows that the queue never runs dry while g is at least the
# expected latency of the server over the time of one frame over the chunk's size. Here the latency
# is measured.
#
# No threshold helps a policy whose chunks span less than twice its latency (plus the age of the
# observation): with one call in flight that is how far apart the end of one chunk's observation
# and the arrival of the next chunk may lie.

# The next inference may be slower than those measured: start 1.5 times as early as the rule says.
# One that takes even longer may come too late, but only once: then it has been measured.
MARGIN = 1.5
# Kept beside that: an observation waits for its set of images (a camera period at 15 Hz), and the
# margin of a fast policy alone is less than a row.
SPARE_S = 0.1
# A slow inference is believed at once and forgotten over about ten faster ones.
FORGETTING = 0.1


def parse_threshold(value: str | float | int) -> float | None:
    """Return the fixed fraction, or None for `auto`.

    Raises:
        ValueError: neither `auto` nor a number in (0, 1].
    """
    if value == "auto":
        return None
    try:
        fraction = float(value)
    except ValueError:
        fraction = -1.0
    if isinstance(value, bool) or not 0.0 < fraction <= 1.0:
        raise ValueError(f"queue_threshold is {value!r}; expected 'auto' or a number in (0, 1]")
    return fraction


class RefillThreshold:
    """The fraction g of a chunk below which the next inference is due.

    Args:
        fixed: a constant g, or None to derive it from the measured latency.
    """

    def __init__(self, fixed: float | None = None) -> None:
        self._fixed = fixed
        self._latency_s = 0.0
        # Below 1 inferences are less frequent, down to what the latency demands.
        self.scale = 1.0

    @property
    def latency_s(self) -> float:
        """Latency to plan with, seconds; 0.0 before the first inference."""
        return self._latency_s

    def measured(self, latency_s: float) -> None:
        """Take in the time from the request of a chunk to its arrival, seconds."""
        slower = max(0.0, latency_s)
        faded = (1.0 - FORGETTING) * self._latency_s + FORGETTING * slower
        self._latency_s = max(slower, faded)

    def fraction(self, chunk_size: int, period_s: float) -> float:
        """g in [0, 1] for chunks of this size; 1.0 while nothing is known."""
        known = chunk_size > 0 and period_s > 0 and self._latency_s > 0.0
        needed = min(1.0, self._lead_s / period_s / chunk_size) if known else 1.0
        if self._fixed is None:
            return needed
        return min(self._fixed, max(needed, self.scale * self._fixed))

    def due(self, level: QueueLevel) -> bool:
        """True when the queue holds less than g of a chunk: the paper's test, strictly less."""
        if level.actions == 0:
            return True
        g = self.fraction(level.chunk_size, level.period_s)
        return level.actions / level.chunk_size < g

    def must_go(self, level: QueueLevel) -> bool:
        """True when an inference is needed, not merely due by a high fixed threshold.

        Without it the queue might be empty before the next one is done.
        """
        return level.actions == 0 or level.seconds <= self._lead_s

    @property
    def _lead_s(self) -> float:
        return MARGIN * self._latency_s + SPARE_S


# Deciding when an inference starts: one at a time, early enough, again after a failure.

# A policy that fails at once is retried at this pace, not in a busy loop.
RETRY_NS = 200_000_000
# About one camera period: the next frames may differ.
RECHECK_NS = 60_000_000


class InferenceSchedule:
    """Holds no thread and no queue: the owner checks, infers and reports back.

    The order is `due` (cheap, before any image is converted), `started`, `accepts` (with the
    observation), then one of `succeeded`, `failed`, `declined` and `dropped`. Nothing that happens
    in an inference can end the flow: after a failure the next one is due again.

    Two threads share it without a lock: one checks (`due`, `started`, `refresh`, `reset`), the
    other infers and reports. The data of an inference belongs to the second one until `_in_flight`
    falls, which is therefore the last thing that a report does.
    """

    def __init__(self, threshold: RefillThreshold, observation_filter: ObservationFilter) -> None:
        self._threshold = threshold
        self._filter = observation_filter
        self._in_flight = False
        self._refresh = False
        self._refreshing = False
        self._started_ns = 0
        self._not_before_ns: int | None = None

    def due(self, now_ns: int, level: QueueLevel) -> bool:
        """True when the next observation should be taken."""
        if self._in_flight:
            return False
        if self._not_before_ns is not None and now_ns < self._not_before_ns:
            return False
        return self._refresh or self._threshold.due(level)

    def accepts(self, observation: Observation, level: QueueLevel) -> bool:
        """True when this observation is worth an inference."""
        must_go = self._refreshing or self._threshold.must_go(level)
        return self._filter.is_new(observation, must_go=must_go)

    def refresh(self) -> None:
        """Ask for an inference however full the queue is: what it was based on has changed."""
        self._refresh = True

    def started(self, now_ns: int) -> None:
        """An observation is being taken; the latency counts from here."""
        self._in_flight = True
        self._refreshing, self._refresh = self._refresh, False
        self._started_ns = now_ns

    def succeeded(self, now_ns: int, observation: Observation) -> float:
        """The chunk is merged; return the latency of this inference, seconds."""
        self._not_before_ns = None
        latency_s = (now_ns - self._started_ns) * 1e-9
        self._threshold.measured(latency_s)
        self._filter.processed(observation)
        self._in_flight = False
        return latency_s

    def failed(self, now_ns: int) -> None:
        """The inference gave nothing usable; the next one may start after a short pause."""
        self._not_before_ns = now_ns + RETRY_NS
        self._in_flight = False

    def declined(self, now_ns: int) -> None:
        """`accepts` refused; the next observation may be taken a camera period later."""
        self._not_before_ns = now_ns + RECHECK_NS
        self._in_flight = False

    def dropped(self) -> None:
        """The chunk was for an old task or came too late: neither a success nor a failure."""
        self._in_flight = False

    def reset(self) -> None:
        """Forget the last observation and any pause: new task, or the clock jumped back.

        An inference in flight stays in flight until it is reported back.
        """
        self._filter.reset()
        self._refresh = False
        self._not_before_ns = None


# A chunk is checked before it may move the arm.

# A period may have been through nanoseconds or 32 bits.
PERIOD_SLACK_S = 1e-6


def check_chunk(
    chunk: object,
    observation: Observation,
    names: Sequence[str],
    space: ActionSpace | None = None,
) -> ActionChunk:
    """Return the policy's chunk if an arm can execute it.

    Args:
        names: of the numbers of an action: the arm's joints, where it follows joint targets.
        space: as in `ActionQueue`. Steps must come at the arm's own period: at another one they are
            another motion.

    Raises:
        ValueError: one line that names what is wrong.
    """
    if not isinstance(chunk, ActionChunk):
        raise ValueError(f"the policy returned {type(chunk).__name__}; expected an ActionChunk")
    steps = space is not None and space.deltas
    numbers = "numbers" if steps else "radians"
    actions = np.asarray(chunk.actions)
    if actions.ndim != 2 or actions.shape[1] != len(names) or len(actions) == 0:
        raise ValueError(
            f"the chunk has shape {actions.shape}; expected (T, {len(names)}) with T >= 1"
        )
    if not np.issubdtype(actions.dtype, np.floating):
        raise ValueError(f"the chunk holds {actions.dtype}; expected floating point {numbers}")
    if not np.isfinite(actions).all():
        row, joint = np.argwhere(~np.isfinite(actions))[0]
        raise ValueError(
            f"the chunk has {actions[row, joint]} for {names[joint]} in row {row}; "
            f"expected finite {numbers}"
        )
    if chunk.stamp_ns != observation.stamp_ns:
        raise ValueError(
            f"the chunk has the stamp of {chunk.stamp_ns} ns; expected {observation.stamp_ns} ns"
        )
    if steps and abs(chunk.period_s - space.period_s) > PERIOD_SLACK_S:
        raise ValueError(
            f"the chunk has a step every {chunk.period_s:.4g} s; expected {space.period_s:.4g} s"
        )
    return chunk


# One call of a policy, from observation to queue, without a thread and without a clock.


class Inference:
    """Runs the policy, checks the chunk, merges it and reports to the schedule.

    The order is `prepare`, `ask` with the observation, then `merge` when the chunk has arrived.
    Errors of any of them go to `failed`; the schedule then decides when to retry.

    A policy that has `forget_chunk` is called when its last chunk is not the queued one: it came
    too late, or the queue has been cleared since.

    Args:
        names, space: of the arm's actions; see `check_chunk`.

    Attributes:
        latency_s: of the last inference, from its start to the merge.
        inferences: chunks merged so far.
    """

    def __init__(
        self,
        policy: Policy,
        schedule: InferenceSchedule,
        actions: ActionQueue,
        names: Sequence[str],
        space: ActionSpace | None = None,
    ) -> None:
        self._policy = policy
        self._names, self._space = names, space
        self._schedule = schedule
        self._actions = actions
        self._reset_due = True
        self._forget_chunk = getattr(policy, "forget_chunk", lambda: None)
        # Of the queue, when the policy's last chunk was merged; None if it was not.
        self._merged_generation: int | None = None
        self.latency_s = 0.0
        self.inferences = 0

    def start_anew(self) -> None:
        """Have the policy reset before its next inference."""
        self._reset_due = True

    def prepare(self) -> None:
        """Reset the policy if that is due. Raises what the policy raises; it is due again then."""
        if not self._reset_due:
            return
        self._reset_due = False
        try:
            self._policy.reset()
        except Exception:
            self._reset_due = True
            raise

    def ask(self, observation: Observation, now_ns: int, generation: int) -> ActionChunk | None:
        """Return the policy's chunk, or None where the observation is not worth an inference.

        Args:
            generation: of the queue, when the inference was decided.

        Raises:
            ValueError: the answer is no chunk that can be executed.
            Exception: whatever the policy raises.
        """
        if not self._schedule.accepts(observation, self._actions.level(now_ns)):
            self._schedule.declined(now_ns)
            return None
        if generation != self._merged_generation:
            self._forget_chunk()
        chunk = self._policy.infer(observation)
        return check_chunk(chunk, observation, self._names, self._space)

    def merge(
        self,
        chunk: ActionChunk,
        observation: Observation,
        now_ns: int,
        generation: int,
        anchor: np.ndarray | None,
    ) -> bool:
        """Queue the chunk; False if the queue has been cleared since the request.

        Args:
            anchor: (J,) where the arm is, for a chunk that arrives at an empty queue; None for
                steps, which go on from wherever it is.

        Raises:
            ValueError: the chunk came after its own end.
        """
        left = self._actions.merge(chunk, now_ns, generation=generation, anchor=anchor)
        self._merged_generation = generation if left else None
        if generation != self._actions.generation:
            self._schedule.dropped()
            return False
        if left == 0:
            raise ValueError(
                f"the chunk spans {len(chunk.actions) * chunk.period_s:.2f} s but came "
                f"{(now_ns - chunk.stamp_ns) * 1e-9:.2f} s after its observation"
            )
        self.latency_s = self._schedule.succeeded(now_ns, observation)
        self.inferences += 1
        return True

    def failed(self, now_ns: int) -> None:
        """The inference raised: ask again after a pause."""
        self._schedule.failed(now_ns)
