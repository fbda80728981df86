"""The thread in which the policy runs: one observation and one call in flight."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass

from multismolvla.control.action_queue import ActionQueue
from multismolvla.control.chunk_check import check_chunk
from multismolvla.control.inference_schedule import InferenceSchedule
from multismolvla.interfaces import Policy
from multismolvla.nodes.policy_inputs import PolicyInputs

# A call in progress cannot be interrupted; closing waits this long for it to end.
END_S = 5.0


@dataclass(frozen=True)
class _Request:
    task: str
    generation: int


class InferenceThread:
    """Takes an observation, asks the policy, checks the chunk and merges it into the queue.

    Whatever a policy does, the thread goes on: a failure is reported once, a later success too, and
    the schedule decides when to ask again. A policy that has `forget_chunk` is told so when its
    last chunk is not what is queued: it came too late, or the queue has been cleared since.

    Args:
        now_ns: the node's clock.
        on_chunk: called after each merge.
        on_problem: called with one line when the policy begins to fail, with "" when it works
            again.
    """

    def __init__(
        self,
        policy: Policy,
        inputs: PolicyInputs,
        schedule: InferenceSchedule,
        actions: ActionQueue,
        now_ns: Callable[[], int],
        on_chunk: Callable[[], None],
        on_problem: Callable[[str], None],
    ) -> None:
        self._policy = policy
        self._inputs = inputs
        self._schedule = schedule
        self._actions = actions
        self._now_ns = now_ns
        self._on_chunk = on_chunk
        self._on_problem = on_problem
        self._reset_due = True
        self._forget_chunk = getattr(policy, "forget_chunk", lambda: None)
        # Of the queue, when the policy's last chunk was merged; None if it was not.
        self._merged_generation: int | None = None
        self._closing = False
        self.problem = ""
        self.latency_s = 0.0
        self.inferences = 0
        self._requests: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """End the thread; the answer of a call in progress is dropped."""
        self._closing = True
        self._requests.put(None)
        self._thread.join(END_S)

    def request(self, task: str) -> None:
        """Start an inference. The schedule says when: never while one is in flight."""
        self._requests.put(_Request(task, self._actions.generation))

    def start_anew(self) -> None:
        """Have the policy reset before its next inference."""
        self._reset_due = True

    def _run(self) -> None:
        while (request := self._requests.get()) is not None:
            try:
                self._infer(request)
            except Exception as error:  # A policy is foreign code: it may raise anything.
                self._schedule.failed(self._now_ns())
                self._report(f"{type(error).__name__}: {' '.join(str(error).split())}")

    def _infer(self, request: _Request) -> None:
        if self._reset_due:
            self._reset_due = False
            try:
                self._policy.reset()
            except Exception:
                self._reset_due = True
                raise
        now_ns = self._now_ns()
        observation = self._inputs.observation(now_ns, request.task)
        if not self._schedule.accepts(observation, self._actions.level(now_ns)):
            self._schedule.declined(now_ns)
            return
        if request.generation != self._merged_generation:
            self._forget_chunk()
        chunk = check_chunk(self._policy.infer(observation), observation)
        if self._closing:
            return
        now_ns = self._now_ns()
        left = self._actions.merge(
            chunk, now_ns, generation=request.generation, anchor=self._inputs.states.latest()
        )
        self._merged_generation = request.generation if left else None
        if request.generation != self._actions.generation:
            self._schedule.dropped()
            return
        if left == 0:
            raise ValueError(
                f"the chunk spans {len(chunk.actions) * chunk.period_s:.2f} s but came "
                f"{(now_ns - chunk.stamp_ns) * 1e-9:.2f} s after its observation"
            )
        self.latency_s = self._schedule.succeeded(now_ns, observation)
        self.inferences += 1
        self._report("")
        self._on_chunk()

    def _report(self, problem: str) -> None:
        if bool(problem) != bool(self.problem) and not self._closing:
            self._on_problem(problem)
        self.problem = f"policy error: {problem}" if problem else ""
