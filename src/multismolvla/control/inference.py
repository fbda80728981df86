"""One call of a policy, from observation to queue, without a thread and without a clock."""

from __future__ import annotations

import numpy as np

from multismolvla.control.action_queue import ActionQueue
from multismolvla.control.chunk_check import check_chunk
from multismolvla.control.inference_schedule import InferenceSchedule
from multismolvla.interfaces import ActionChunk, Observation, Policy


class Inference:
    """Asks the policy, checks the chunk, merges it and reports to the schedule.

    The order is `prepare`, `ask` with the observation, then `merge` when the answer is there. What
    any of them raises goes to `failed`; the schedule then decides when to ask again.

    A policy that has `forget_chunk` is told so when its last chunk is not what is queued: it came
    too late, or the queue has been cleared since.

    Attributes:
        latency_s: of the last inference, from its start to the merge.
        inferences: chunks merged so far.
    """

    def __init__(self, policy: Policy, schedule: InferenceSchedule, actions: ActionQueue) -> None:
        self._policy = policy
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
        return check_chunk(self._policy.infer(observation), observation)

    def merge(
        self,
        chunk: ActionChunk,
        observation: Observation,
        now_ns: int,
        generation: int,
        anchor: np.ndarray | None,
    ) -> bool:
        """Queue the chunk; False where the queue has been cleared since it was asked for.

        Args:
            anchor: (6,) where the arm is, for a chunk that meets an empty queue.

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
