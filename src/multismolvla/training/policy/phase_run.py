"""One phase, step by step, until it is done or stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch
from accelerate import Accelerator

from multismolvla.training.policy.ema import Ema
from multismolvla.training.policy.loader import Loader
from multismolvla.training.policy.objective import Objective
from multismolvla.training.policy.progress import Meter, Progress, gradient_norms
from multismolvla.training.policy.recipe import Recipe
from multismolvla.training.policy.schedule import learning_rate, make_optimizer, set_learning_rate
from multismolvla.training.policy.training_state import Place, load_state, save_state
from multismolvla.training.policy.validation import Validation

REPORT_STEPS = 20


class DivergedError(RuntimeError):
    """The loss is not a number any more; one line."""


class PhaseRun:
    """Runs a phase from a place on.

    Args:
        folder: of the run's state.
        run: its fingerprint.
        stop: called after each step; True ends the run, which can be continued later.
        loader: gives the loader of the steps `first` to `last` - 1.
    """

    def __init__(
        self,
        recipe: Recipe,
        index: int,
        objective: Objective,
        accelerator: Accelerator,
        loader: Callable[[int, int], Loader],
        validation: Validation | None,
        progress: Progress,
        folder: Path,
        run: str,
        stop: Callable[[], bool],
    ) -> None:
        self._recipe, self._index, self._phase = recipe, index, recipe.phases[index]
        self._objective, self._accelerator = objective, accelerator
        self._loader, self._validation, self._progress = loader, validation, progress
        self._folder, self._run, self._stop = folder, run, stop

    def run(self, place: Place) -> Place:
        """Go on from `place`; the objective ends with the averaged weights if the phase is done.

        Raises:
            DivergedError: the loss is not finite.
        """
        phase, accelerator = self._phase, self._accelerator
        objective = self._objective.to(accelerator.device)
        optimizer = make_optimizer(objective, phase)
        ema = Ema(objective, phase.ema)
        if place.step:
            load_state(self._folder, objective, optimizer, ema)
        wrapped, stepper = accelerator.prepare(objective, optimizer)
        loader = self._loader(place.step, phase.steps)
        self._progress.begin(phase.name, place.step, phase.steps)
        meter, started, saved = Meter(), time.perf_counter(), time.perf_counter()
        done = place.step

        def here() -> Place:
            return Place(self._index, done, place.seconds + time.perf_counter() - started)

        wrapped.train()
        try:
            for step, groups in loader:
                set_learning_rate(optimizer, learning_rate(phase, step))
                # What torch draws itself, such as LoRA's dropout.
                torch.manual_seed((self._recipe.seed * 100 + self._index) * 10_000_000 + step)
                self._step(wrapped, stepper, groups, meter, report=step % REPORT_STEPS == 0)
                ema.update()
                done = step + 1
                self._progress.step()
                if done % REPORT_STEPS == 0 or done == phase.steps:
                    scalars = meter.take() | {"learning_rate": learning_rate(phase, step)}
                    samples = phase.batch_size * accelerator.num_processes
                    self._progress.report(phase.name, done, scalars, samples, loader.waited_s)
                every = self._recipe.validate_steps
                if self._validation and every and (done % every == 0 or done == phase.steps):
                    with ema.applied():
                        scores = self._validation.score(objective, accelerator.device)
                    self._progress.validated(phase.name, done, scores)
                stopping = self._agreed(self._stop())
                due = time.perf_counter() - saved > 60.0 * self._recipe.save_minutes
                if (stopping or due) and accelerator.is_main_process and done < phase.steps:
                    save_state(self._folder, self._run, here(), objective, optimizer, ema)
                    saved = time.perf_counter()
                if stopping:
                    break
        finally:
            self._progress.end()
        accelerator.wait_for_everyone()
        if done == phase.steps:
            ema.apply()
        return here()

    def _agreed(self, stop: bool) -> bool:
        """Whether any process wants to stop: if only one did, the others would wait for it."""
        if self._accelerator.num_processes == 1:
            return stop
        wishes = torch.tensor(float(stop), device=self._accelerator.device)
        return bool(self._accelerator.reduce(wishes, "sum") > 0)

    def _step(self, wrapped, stepper, groups, meter: Meter, report: bool) -> None:
        phase, accelerator = self._phase, self._accelerator
        streams = [stream.name for stream in self._objective.model.config.streams]
        for number, group in enumerate(groups):
            group = group.to(accelerator.device)
            last = number == len(groups) - 1
            # Several processes exchange gradients once per step.
            with nullcontext() if last else accelerator.no_sync(wrapped):
                with accelerator.autocast():
                    loss, metrics = wrapped(group)
                mean = loss.mean()
                if not torch.isfinite(mean):
                    raise DivergedError(
                        f"phase {phase.name}: the loss is {float(mean)}; lower learning_rate, "
                        "or look for damaged samples; the last saved state is sound"
                    )
                accelerator.backward(mean / len(groups))
            meter.add(metrics)
            if group.scene is None:
                meter.add_lost(streams, group.lost, loss)
        norm = accelerator.clip_grad_norm_(wrapped.parameters(), phase.clip)
        if norm is not None:
            meter.add({"gradient": float(norm)})
        if report:
            meter.add(gradient_norms(self._objective))
        stepper.step()
        stepper.zero_grad()
