"""The dry run of a policy at the start of its node, beside the control loop."""

from __future__ import annotations

import threading
from collections.abc import Callable

from multismolvla.control.inference import RefillThreshold
from multismolvla.interfaces import Policy
from multismolvla.nodes.policy_messages import dry_run_line, dry_run_values
from multismolvla.nodes.run import freeze_garbage

# A call in progress cannot be interrupted; closing waits this long for it to end.
END_S = 5.0


class PolicyWarmUp:
    """Runs the policy's own `dry_run` once, in a thread, if it has one.

    Until `done` nobody else may call the policy. `values` are the figures for the status, empty
    before the end and for a policy without a dry run.

    Args:
        on_line: called once with the figures, as one line.
        on_problem: called instead with one line when the dry run fails. That ends the warm-up, too:
            the first inference will meet the same problem, hold the arm and be tried again.
    """

    def __init__(
        self, policy: Policy, on_line: Callable[[str], None], on_problem: Callable[[str], None]
    ) -> None:
        self._dry_run = getattr(policy, "dry_run", None)
        self._on_line = on_line
        self._on_problem = on_problem
        self._closing = False
        self.done = self._dry_run is None
        self.values: dict[str, str] = {}
        self._thread = threading.Thread(target=self._run, name="warm_up", daemon=True)

    def start(self) -> None:
        if not self.done:
            self._thread.start()

    def close(self) -> None:
        """Wait for the end; the figures are dropped."""
        self._closing = True
        if self._thread.is_alive():
            self._thread.join(END_S)

    def _run(self) -> None:
        try:
            report = self._dry_run()
            threshold = RefillThreshold()
            threshold.measured(report.median_s)
            fraction = threshold.fraction(report.chunk_size, report.period_s)
            self.values = dry_run_values(report, fraction)
            if not self._closing:
                self._on_line(dry_run_line(report, fraction))
        except Exception as error:  # A policy is foreign code: it may raise anything.
            if not self._closing:
                self._on_problem(f"{type(error).__name__}: {' '.join(str(error).split())}")
        finally:
            # Before anybody waits for this process: it stops every thread for a moment.
            freeze_garbage()
            self.done = True
