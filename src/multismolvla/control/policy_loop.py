"""One tick of the control loop: what the arm is told now, and whether the policy is asked now."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from multismolvla.control.action_queue import ActionQueue
from multismolvla.control.inference_schedule import InferenceSchedule
from multismolvla.control.playback import Playback
from multismolvla.control.policy_view import PolicyView
from multismolvla.control.stream_gate import StreamGate
from multismolvla.control.stream_mask import StreamMask


@dataclass(frozen=True)
class Tick:
    """What a tick has decided.

    Attributes:
        targets: (N, 6) setpoints for now and the next control periods, None to say nothing.
        infer: an inference is to start now; the schedule counts it as started.
        hold_reason: why nothing may be executed, or "".
        mask_changed: the availability of a stream has changed since the last tick.
    """

    targets: np.ndarray | None
    infer: bool
    hold_reason: str
    mask_changed: bool


class PolicyLoop:
    """Decides on an explicit clock; holds no thread.

    Args:
        joint_states_timeout_s: age of the joint states at which the arm holds.
    """

    def __init__(
        self,
        gate: StreamGate,
        view: PolicyView,
        queue: ActionQueue,
        schedule: InferenceSchedule,
        playback: Playback,
        joint_states_timeout_s: float,
    ) -> None:
        self._gate = gate
        self._view = view
        self._queue = queue
        self._schedule = schedule
        self._playback = playback
        self._timeout_s = joint_states_timeout_s
        self._since_ns = 0
        self.mask = StreamMask()

    def start_anew(self, now_ns: int) -> None:
        """Drop what is queued and what was seen before: another task, or a clock set back."""
        self._since_ns = now_ns
        self._playback.restart(now_ns)
        self._schedule.reset()

    def tick(self, now_ns: int, task: str, mask: StreamMask, not_ready: str = "") -> Tick:
        """Decide what happens now.

        Args:
            mask: which streams may be used now.
            not_ready: why the policy cannot be asked yet, or "".
        """
        previous, self.mask = self.mask, mask
        if mask.lost_since(previous):
            self._schedule.refresh()
        hold_reason = self._hold_reason(now_ns, task, not_ready)
        targets = self._playback.tick(now_ns, hold=bool(hold_reason))
        # What was seen before the task was given may show a scene that is gone.
        ready = not hold_reason and self._view.seen_since(self._since_ns)
        infer = ready and self._schedule.due(now_ns, self._queue.level(now_ns))
        if infer:
            self._schedule.started(now_ns)
        return Tick(targets, infer, hold_reason, mask.available != previous.available)

    def _hold_reason(self, now_ns: int, task: str, not_ready: str) -> str:
        """Why nothing may be executed now, or ""."""
        if not task:
            return "no task"
        if not_ready:
            return not_ready
        if now_ns == 0:
            return "no /clock yet"
        age_s = self._view.states.age_s(now_ns)
        if age_s is None:
            return "no joint_states"
        limit_s = self._timeout_s
        if age_s > limit_s:
            return f"joint_states are older than {limit_s} s"
        if age_s < -limit_s:
            return f"joint_states are stamped more than {limit_s} s in the future"
        return self._gate.decide(self.mask.available).reason
