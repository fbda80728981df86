"""The progress of a run: one live line, JSON lines, and TensorBoard where it is installed."""

from __future__ import annotations

import json
import math
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

try:  # torch's writer needs the package tensorboard, which is not required
    from torch.utils.tensorboard import SummaryWriter
except ImportError:
    SummaryWriter = None

METRICS_FILE = "metrics.jsonl"
# Shown beside the live line, in this order, where there are any.
SHOWN = ("flow", "privileged", "auxiliary", "distillation", "object_mm", "held")


class Meter:
    """Means of what has been added since they were last taken."""

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = defaultdict(list)

    def add(self, metrics: Mapping[str, Tensor | float]) -> None:
        for name, value in metrics.items():
            self._values[name].append(float(value))

    def add_lost(self, streams: Sequence[str], lost: Tensor, loss: Tensor) -> None:
        """Loss (B,) of the samples that lost (B, S) each stream, and of those that lost none."""
        lost, loss = lost.cpu(), loss.detach().float().cpu()
        for column, stream in enumerate(streams):
            if lost[:, column].any():
                self._values[f"lost/{stream}"].append(float(loss[lost[:, column]].mean()))
        whole = ~lost.any(dim=1)
        if whole.any():
            self._values["lost/nothing"].append(float(loss[whole].mean()))

    def take(self) -> dict[str, float]:
        """The means, of finite values; starts again."""
        means = {}
        for name, values in self._values.items():
            finite = [value for value in values if math.isfinite(value)]
            if finite:
                means[name] = sum(finite) / len(finite)
        self._values.clear()
        return means


class Progress:
    """Writes only where `speaks`, in the first of several processes."""

    def __init__(self, folder: Path, speaks: bool) -> None:
        self._speaks = speaks
        self._bar: tqdm | None = None
        if speaks:
            folder.mkdir(parents=True, exist_ok=True)
            self._lines = open(folder / METRICS_FILE, "a", encoding="utf-8")  # noqa: SIM115
            self._events = SummaryWriter and SummaryWriter(str(folder / "tensorboard"))

    def begin(self, phase: str, step: int, steps: int) -> None:
        """A phase begins, or continues, at `step` of `steps`."""
        if self._speaks:
            self._bar = tqdm(total=steps, initial=step, desc=phase, unit="step", smoothing=0.05)
        self._started, self._steps = time.perf_counter(), 0

    def step(self) -> None:
        """A step is done."""
        self._steps += 1
        if self._bar is not None:
            self._bar.update()

    def report(
        self, phase: str, step: int, scalars: Mapping[str, float], samples: int, waited_s: float
    ) -> None:
        """Write scalars of a step.

        Args:
            samples: per step, of all processes; waited_s: for data, since the phase began here.
        """
        if not self._speaks:
            return
        passed = time.perf_counter() - self._started
        speed = {
            "samples_per_s": samples * self._steps / passed,
            "waiting_share": waited_s / passed,
        }
        everything = {**scalars, **speed}
        self._write(phase, step, everything)
        shown = {key: f"{scalars[key]:.3g}" for key in SHOWN if key in scalars}
        shown["samples/s"] = f"{speed['samples_per_s']:.1f}"
        shown["wait"] = f"{speed['waiting_share']:.0%}"
        if self._bar is not None:
            self._bar.set_postfix(shown)

    def validated(self, phase: str, step: int, scores: Mapping[str, float]) -> None:
        """Write scores and print them in one line."""
        if not self._speaks:
            return
        self._write(phase, step, {f"validation/{name}": value for name, value in scores.items()})
        parts = " ".join(f"{name} {value:.4g}" for name, value in scores.items())
        tqdm.write(f"{phase} step {step}: {parts}")

    def end(self) -> None:
        """The phase is over, or the run stops."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _write(self, phase: str, step: int, scalars: Mapping[str, float]) -> None:
        line = {"phase": phase, "step": step, "time": time.time(), **scalars}
        self._lines.write(json.dumps(line) + "\n")
        self._lines.flush()
        if self._events:
            for name, value in scalars.items():
                self._events.add_scalar(f"{phase}/{name}", value, step)
            self._events.flush()


def gradient_norms(module: torch.nn.Module) -> dict[str, float]:
    """Norm of the gradient per part of the model, to see which one learns."""
    sums: dict[str, float] = defaultdict(float)
    for name, parameter in module.named_parameters():
        if parameter.grad is not None:
            own = name.removeprefix("module.").removeprefix("model.").partition(".")[0]
            sums[own] += float(parameter.grad.detach().square().sum())
    return {f"gradient/{name}": math.sqrt(total) for name, total in sums.items()}
