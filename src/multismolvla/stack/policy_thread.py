"""The thread in which a policy runs: its dry run first, then one observation and call at a time."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from multismolvla.control.inference import RefillThreshold
from multismolvla.interfaces import Policy
from multismolvla.one_line import one_line
from multismolvla.policy.dry_run import DryRunReport
from multismolvla.priority import freeze_garbage
from multismolvla.stack.policy_runner import PolicyRunner, Request, Statuses

# A call in progress cannot be interrupted; closing waits this long for it to end.
END_S = 5.0


class PolicyThread:
    """Computes a runner's requests in order.

    The thread survives every error of a policy. A policy that has `dry_run` is warmed up by it
    before its first request; an error there ends the warm-up too: the first inference will have
    the same error, hold the arm and be retried.

    Args:
        clock_ns, statuses: the node's clock and the health of the streams.
        on_chunk: called after each merge.
        on_event: gets (severity, text), once per dry run.
        name: of the policy, for a person.

    Attributes:
        ready: the policy is ready for inference.
        values: figures of the dry run for the status, empty before its end and without one.
    """

    def __init__(
        self,
        runner: PolicyRunner,
        policy: Policy,
        clock_ns: Callable[[], int],
        statuses: Callable[[], Statuses],
        on_chunk: Callable[[], None],
        on_event: Callable[[str, str], None],
        name: str,
    ) -> None:
        self._runner = runner
        self._dry_run = getattr(policy, "dry_run", None)
        self._clock_ns = clock_ns
        self._statuses = statuses
        self._on_chunk = on_chunk
        self._on_event = on_event
        self._name = name
        self._closing = False
        self.ready = self._dry_run is None
        self.values: dict[str, str] = {}
        self._requests: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="policy", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """End the thread; the answer of a call in progress is dropped."""
        self._closing = True
        self._requests.put(None)
        self._thread.join(END_S)

    def submit(self, request: Request) -> None:
        """Start an inference; the schedule never asks for one while another is in flight."""
        self._requests.put(request)

    def _run(self) -> None:
        if not self.ready:
            self._warm_up()
        while (request := self._requests.get()) is not None:
            answer = self._runner.infer(request, self._clock_ns, self._statuses)
            if answer is None or self._closing:
                continue
            if self._runner.merge(answer, self._clock_ns()):
                self._on_chunk()

    def _warm_up(self) -> None:
        try:
            report = self._dry_run()
            threshold = RefillThreshold()
            threshold.measured(report.median_s)
            fraction = threshold.fraction(report.chunk_size, report.period_s)
            self.values = dry_run_values(report, fraction)
            self._report("info", f"policy '{self._name}': {dry_run_line(report, fraction)}")
        except Exception as error:  # A policy is foreign code: it may raise anything.
            cause = f"{type(error).__name__}: {one_line(error)}"
            self._report("error", f"the dry run of policy '{self._name}' failed: {cause}")
        finally:
            # Before anybody waits for this process: it stops every thread for a moment.
            freeze_garbage()
            self.ready = True

    def _report(self, severity: str, text: str) -> None:
        if not self._closing:
            self._on_event(severity, text)


def dry_run_values(report: DryRunReport, threshold: float) -> dict[str, str]:
    """The figures of a dry run as values of the status; `threshold` is what its latency implies."""
    values = {
        "load_s": f"{report.load_s:.2f}",
        "first_ms": f"{report.first_s * 1e3:.1f}",
        "median_ms": f"{report.median_s * 1e3:.1f}",
        "memory_mb": f"{report.peak_memory_bytes / 1e6:.0f}",
        "parameters": str(report.parameters),
        "threshold": f"{threshold:.3f}",
    }
    if report.one_stream_s is not None:
        values["one_stream_ms"] = f"{report.one_stream_s * 1e3:.1f}"
    if report.choice is not None:
        values["precision"] = report.choice.precision
        values["threads"] = str(report.choice.threads)
        values["choice"] = report.choice.reason
    return {f"dry_run.{key}": value for key, value in values.items()}


def dry_run_line(report: DryRunReport, threshold: float) -> str:
    """The same for a person, after the policy's name."""
    alone = ""
    if report.one_stream_s is not None:
        alone = f", {report.one_stream_s * 1e3:.0f} with one stream"
    return (
        f"{report.median_s * 1e3:.0f} ms per chunk (first {report.first_s * 1e3:.0f}{alone}), "
        f"{report.peak_memory_bytes / 1e6:.0f} MB, {report.parameters / 1e6:.1f} M parameters "
        f"loaded in {report.load_s:.1f} s, queue threshold {threshold:.2f}"
        + (f"; {report.choice.reason}" if report.choice else "")
    )
