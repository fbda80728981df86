"""The thread in which the policy runs: one observation and one call in flight."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass

from multismolvla.control.action_queue import ActionQueue
from multismolvla.control.inference import Inference
from multismolvla.nodes.policy_inputs import PolicyInputs

# A call in progress cannot be interrupted; closing waits this long for it to end.
END_S = 5.0


@dataclass(frozen=True)
class _Request:
    task: str
    generation: int


class InferenceThread:
    """Takes an observation and has it answered.

    Whatever a policy does, the thread goes on: a failure is reported once, a later success too, and
    the schedule decides when to ask again.

    Args:
        now_ns: the node's clock.
        on_chunk: called after each merge.
        on_problem: called with one line when the policy begins to fail, with "" when it works
            again.
    """

    def __init__(
        self,
        core: Inference,
        inputs: PolicyInputs,
        actions: ActionQueue,
        now_ns: Callable[[], int],
        on_chunk: Callable[[], None],
        on_problem: Callable[[str], None],
    ) -> None:
        self._core = core
        self._inputs = inputs
        self._actions = actions
        self._now_ns = now_ns
        self._on_chunk = on_chunk
        self._on_problem = on_problem
        self._closing = False
        self.problem = ""
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

    def _run(self) -> None:
        while (request := self._requests.get()) is not None:
            try:
                self._infer(request)
            except Exception as error:  # A policy is foreign code: it may raise anything.
                self._core.failed(self._now_ns())
                self._report(f"{type(error).__name__}: {' '.join(str(error).split())}")

    def _infer(self, request: _Request) -> None:
        self._core.prepare()
        now_ns = self._now_ns()
        observation = self._inputs.observation(now_ns, request.task)
        chunk = self._core.ask(observation, now_ns, request.generation)
        if chunk is None or self._closing:
            return
        anchor = self._inputs.states.latest()
        if self._core.merge(chunk, observation, self._now_ns(), request.generation, anchor):
            self._report("")
            self._on_chunk()

    def _report(self, problem: str) -> None:
        if bool(problem) != bool(self.problem) and not self._closing:
            self._on_problem(problem)
        self.problem = f"policy error: {problem}" if problem else ""
