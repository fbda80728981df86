"""A policy whose answers take simulated time."""

from __future__ import annotations

from dataclasses import replace

from multismolvla.stack.policy_runner import Answer, PolicyRunner, Request, Statuses


class DelayedInference:
    """Inferences that take simulated time: each chunk is merged `latency_s` after its request.

    Args:
        dropped_share: for an arm that waits for each chunk and then follows it from its first row:
            the share of its rows that it drops at the end. None for an arm that keeps moving.
    """

    def __init__(
        self, runner: PolicyRunner, latency_s: float, dropped_share: float | None = None
    ) -> None:
        self._runner = runner
        self._latency_ns = round(latency_s * 1e9)
        self._dropped_share = dropped_share
        self._pending: tuple[int, Answer] | None = None

    def start(self, request: Request, now_ns: int, statuses: Statuses) -> None:
        """Have the policy answer now, and keep the answer."""
        answer = self._runner.infer(request, lambda: now_ns, lambda: statuses)
        if answer is not None:
            self._pending = now_ns + self._latency_ns, answer

    def take_answer(self, now_ns: int) -> bool:
        """Merge the answer if its time has come; whether anything was merged."""
        if self._pending is None or now_ns < self._pending[0]:
            return False
        (_, answer), self._pending = self._pending, None
        if self._dropped_share is not None:
            rows = max(1, round(len(answer.chunk.actions) * (1.0 - self._dropped_share)))
            chunk = replace(answer.chunk, stamp_ns=now_ns, actions=answer.chunk.actions[:rows])
            answer = replace(answer, chunk=chunk)
        return self._runner.merge(answer, now_ns)
