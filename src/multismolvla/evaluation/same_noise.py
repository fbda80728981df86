"""A policy whose every answer begins with the same noise."""

from __future__ import annotations

from multismolvla.interfaces import ActionChunk, Observation, Policy


class SameNoise:
    """Resets a policy with seeded noise before each inference.

    A fault that is noticed brings an inference forward, and every later one would begin with
    another noise than in the clean pass: actions would differ by that, with any fault the same.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def infer(self, observation: Observation) -> ActionChunk:
        self._policy.reset()
        return self._policy.infer(observation)

    def reset(self) -> None:
        self._policy.reset()
