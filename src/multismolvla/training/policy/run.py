"""A whole run: the phases of a recipe one after another, and the checkpoints that they write."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from tqdm import tqdm

from multismolvla.data.cache import TrainingCache
from multismolvla.embodiment.description import Embodiment
from multismolvla.embodiment.kinematics import Kinematics
from multismolvla.policy.checkpoint import save_checkpoint
from multismolvla.policy.checkpoint_source import load_any_checkpoint
from multismolvla.policy.config import PolicyConfig
from multismolvla.policy.lora import add_lora, merge_lora
from multismolvla.policy.model import MultiSmolVLA
from multismolvla.policy.normalization import Normalizer
from multismolvla.policy.siglip import SiglipViews
from multismolvla.streams import Stream, load_stream_table
from multismolvla.training.data_seeds import data_seeds
from multismolvla.training.policy.auxiliary_heads import AuxiliaryHeads
from multismolvla.training.policy.batches import BatchMaker
from multismolvla.training.policy.dropout_curriculum import rate_at
from multismolvla.training.policy.loader import Loader
from multismolvla.training.policy.objective import Objective
from multismolvla.training.policy.phase_run import PhaseRun
from multismolvla.training.policy.progress import Progress
from multismolvla.training.policy.recipe import (
    PhaseRecipe,
    Recipe,
    RecipeError,
    relative_joints,
)
from multismolvla.training.policy.recipe_file import as_dict
from multismolvla.training.policy.schedule import choose_trainable
from multismolvla.training.policy.starting_model import starting_model
from multismolvla.training.policy.training_state import (
    Place,
    find_place,
    fingerprint,
    load_state,
    save_state,
)
from multismolvla.training.policy.validation import Validation, unvaried
from multismolvla.training.policy.view_cache import ViewCache, ViewCacheWriter
from multismolvla.training.provenance import TRAINING_FILE, before

# Fills a cache of view tokens by an encoder that will not change.

# Samples that lose the same streams.
ENCODED_BLOCK = 16


@torch.no_grad()
def encode_views(
    folder: Path,
    maker: BatchMaker,
    model: MultiSmolVLA,
    phase: PhaseRecipe,
    samples: np.ndarray,
    length: int,
    seed: int,
) -> None:
    """Encode `phase.frozen_variants` damaged variants of each sample, unless it is done already.

    Args:
        maker: of batches of frames; length: samples of the training cache.
    """
    config, device = model.config, next(model.parameters()).device
    shape = (len(config.views), config.tokens_per_view, config.text.hidden_size)
    variants = phase.frozen_variants
    writer = ViewCacheWriter(folder, samples, length, variants, shape, len(config.streams))
    if writer.complete:
        return
    model.eval()
    blocks = range(0, len(samples), ENCODED_BLOCK)
    with tqdm(total=variants * len(samples), desc=f"{phase.name}: views", unit="view") as bar:
        for variant in range(variants):
            rate = rate_at(phase.dropout, (variant + 0.5) / variants)
            rng = np.random.default_rng([seed, variant])
            for start in blocks:
                block = samples[start : start + ENCODED_BLOCK]
                group = maker.group(rng, block, rate).to(device)
                views, present = model.visual(group.frames, group.mask)
                writer.write(
                    variant, block, views=views, present=present, mask=group.mask, lost=group.lost
                )
                bar.update(len(block))
    writer.finish()
    model.train()


# What `Normalizer` needs, from the samples of a cache.

# An offset of row 0 is nearly nothing; divided by its own spread, noise would be all there is.
LEAST_STD_RAD = 0.02
STATISTICS_BLOCK = 4096


def make_normalizer(
    config: PolicyConfig,
    kinematics: Kinematics | None,
    cache: TrainingCache,
    indices: np.ndarray,
) -> Normalizer:
    """Statistics of the states and chunks of the samples `indices`.

    Absolute actions share one mean and deviation per joint, relative ones have them per row.
    """
    relative = np.array([joint in config.relative_joints for joint in config.joints])
    states = cache.array("state")[indices].astype(np.float64)
    rows = config.chunk_size
    count, total, squares = 0, 0.0, 0.0
    for start in range(0, len(indices), STATISTICS_BLOCK):
        block = np.sort(indices[start : start + STATISTICS_BLOCK])
        chunk = cache.array("chunk")[block, :rows].astype(np.float64)
        if config.relative_joints:
            chunk -= np.where(relative, cache.array("state")[block], 0.0)[:, None]
        else:
            chunk = chunk.reshape(-1, chunk.shape[-1])
        count += len(chunk)
        total = total + chunk.sum(axis=0)
        squares = squares + np.square(chunk).sum(axis=0)
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
    return Normalizer(
        config,
        kinematics,
        state_mean=torch.from_numpy(states.mean(axis=0)),
        state_std=torch.from_numpy(np.maximum(states.std(axis=0), LEAST_STD_RAD)),
        action_mean=torch.from_numpy(mean),
        action_std=torch.from_numpy(np.maximum(std, LEAST_STD_RAD)),
    )


# Draws of the batches and of the validation never share a seed.
VALIDATION = 1 << 21


class Run:
    """Builds model, data and phases of a recipe, and runs them.

    Args:
        folder: of checkpoints (`<phase>/`), state, and logs.
        table: file of the stream table.
        embodiment: the arm that is to be moved.
        revision: commit of the code, kept with the weights.
        fresh: start again and delete what is in the folder.

    Raises:
        ValueError: recipe, data or state do not fit; one line.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        table: Path,
        embodiment: Embodiment,
        cpu: bool,
        mixed_precision: str,
        revision: str,
        fresh: bool = False,
    ) -> None:
        # The state of a run names them, whether the recipe does or not.
        recipe = dataclasses.replace(recipe, relative_joints=relative_joints(recipe, embodiment))
        self._recipe, self._folder, self._revision = recipe, folder, revision
        self._embodiment = embodiment
        # The language model is idle in a perception phase.
        unused = DistributedDataParallelKwargs(find_unused_parameters=True)
        self._accelerator = Accelerator(
            cpu=cpu, mixed_precision=mixed_precision, kwargs_handlers=[unused]
        )
        if fresh and self._accelerator.is_main_process:
            shutil.rmtree(folder, ignore_errors=True)
        self._accelerator.wait_for_everyone()
        self._cache = TrainingCache(recipe.data.cache)
        cache = self._cache
        embodiment.check_data(cache.joints, cache.action_names, str(cache.folder))
        self._caches = phase_caches(recipe, self._cache)
        self._streams = choose_streams(self._cache, table, recipe)
        self._train = samples_of(self._cache, "train", recipe.data.episodes)
        content = as_dict(recipe) | {"data_samples": len(self._train)}
        content["data"] = content["data"] | {"workers": 0}  # changes nothing but the speed
        self._run = fingerprint(content)
        place = find_place(folder / "state", self._run)
        self._place = place or Place(0, 0, 0.0)
        model, tokenizer, normalizer = starting_model(
            recipe, self._streams, self._cache, embodiment
        )
        self._model, self._tokenizer = model, tokenizer
        self._normalizer = normalizer or make_normalizer(
            model.config, embodiment.kinematics, self._cache, self._train
        )
        width = model.config.text.hidden_size
        torch.manual_seed(recipe.seed + 1)
        self._heads = AuxiliaryHeads(model.config.objects, width)
        self._before = before(content)
        self._resumed = place is not None
        self._progress = Progress(folder / "logs", self._accelerator.is_main_process)

    def run(self, stop: Callable[[], bool]) -> bool:
        """Run all phases from where the run is; return whether they are done."""
        phases = self._recipe.phases
        if self._place.phase == len(phases):
            return True
        while self._place.phase < len(phases):
            index = self._place.phase
            phase = phases[index]
            objective = self._objective(index, phase)
            self._place = self._phase_run(index, phase, objective, stop).run(self._place)
            if self._place.step < phase.steps:
                return False
            if phase.lora_rank:
                merge_lora(self._model)
            self._model.requires_grad_(True)
            self._place = Place(index + 1, 0, self._place.seconds)
            self._leave(phase, objective)
            if stop() and self._place.phase < len(phases):
                return False
        return True

    def _objective(self, index: int, phase: PhaseRecipe) -> Objective:
        if self._resumed and self._place.step == 0:
            # The weights with which the phase before ended.
            load_state(self._folder / "state", Objective(self._model, self._heads, phase))
        self._resumed = False
        if phase.lora_rank:
            torch.manual_seed(self._recipe.seed + 2 + index)
            add_lora(self._model, phase.lora_rank)
        choose_trainable(self._model, phase)
        privileged = phase.kind == "action_expert" or phase.privileged_cache
        if privileged and not self._model.config.objects:
            raise RecipeError(
                f"phase {phase.name}: privileged poses enter the model as object tokens; expected "
                "object_tokens: true, and data with object poses"
            )
        self._teacher: MultiSmolVLA | None = None
        if phase.distillation:
            cameras = [stream for stream in self._streams if stream.modality.channels == 3]
            self._teacher = load_teacher(phase.teacher, self._embodiment, cameras).to(
                self._accelerator.device
            )
        return Objective(self._model, self._heads, phase, self._teacher)

    def _phase_run(
        self, index: int, phase: PhaseRecipe, objective: Objective, stop: Callable[[], bool]
    ) -> PhaseRun:
        cache, train = self._cache, self._train
        if phase.cache:
            cache = self._caches[phase.cache]
            train = samples_of(cache, "train", 0)
        common = (
            self._model.config,
            self._tokenizer,
            self._normalizer,
            self._embodiment.kinematics,
        )
        seed, accelerator = (self._recipe.seed, index), self._accelerator
        views = None
        if phase.frozen_views:
            folder = self._folder / f"{phase.name}_views"
            maker = BatchMaker(cache, train, *common, phase, (*seed, 1))
            if accelerator.is_main_process:
                model = self._model.to(accelerator.device)
                encode_views(folder, maker, model, phase, train, len(cache), self._recipe.seed)
            accelerator.wait_for_everyone()
            views = ViewCache(folder)
        rank, processes = accelerator.process_index, accelerator.num_processes
        teacher = self._teacher.config if self._teacher else None
        makers = [BatchMaker(cache, train, *common, phase, seed, rank, processes, views, teacher)]
        if phase.privileged_cache:
            more = self._caches[phase.privileged_cache]
            beside = privileged_beside(phase)
            samples = samples_of(more, "train", 0)
            makers.append(BatchMaker(more, samples, *common, beside, (*seed, 2), rank, processes))
        validation = None
        held_out = samples_of(cache, "validation", 0)
        watched = self._recipe.validate_steps and accelerator.is_main_process
        if watched and len(held_out):
            plain = unvaried(phase, min(self._recipe.validate_samples, len(held_out)))
            seen = BatchMaker(cache, held_out, *common, plain, (self._recipe.seed, VALIDATION))
            validation = Validation(seen, self._normalizer, self._recipe.seed)
        workers = self._recipe.data.workers
        return PhaseRun(
            self._recipe,
            index,
            objective,
            accelerator,
            lambda first, last: Loader(makers, first, last, workers),
            validation,
            self._progress,
            self._folder / "state",
            self._run,
            stop,
        )

    def _leave(self, phase: PhaseRecipe, objective: Objective) -> None:
        """Write the checkpoint of a phase that is done, and that it is done."""
        if not self._accelerator.is_main_process:
            return
        folder = self._folder / phase.name
        save_checkpoint(folder, self._model, self._model.config, self._tokenizer, self._normalizer)
        content = {
            "recipe": as_dict(self._recipe),
            "phase": phase.name,
            "revision": self._revision,
            "minutes": round(self._place.seconds / 60.0, 1),
            "samples": len(self._train),
            "episodes": len({int(e) for e in self._cache.array("episode")[self._train]}),
            "data_seeds": data_seeds(self._read_so_far()),
            "before": self._before,
        }
        (folder / TRAINING_FILE).write_text(json.dumps(content, indent=2) + "\n")
        save_state(self._folder / "state", self._run, self._place, objective)

    def _read_so_far(self) -> list[TrainingCache]:
        """The caches of the run and of its phases that are done."""
        done = self._recipe.phases[: self._place.phase]
        read = dict.fromkeys(folder for phase in done for folder in own_caches(phase))
        return [self._cache, *(self._caches[folder] for folder in read)]


def samples_of(cache: TrainingCache, split: str, episodes: int) -> np.ndarray:
    """Indices of a split, of its first `episodes` episodes alone unless that is 0."""
    samples = cache.split(split)
    if episodes:
        of = cache.array("episode")[samples]
        samples = samples[np.isin(of, np.unique(of)[:episodes])]
    return samples


def own_caches(phase: PhaseRecipe) -> list[str]:
    """The caches that a phase names for itself."""
    return [folder for folder in (phase.cache, phase.privileged_cache) if folder]


def privileged_beside(phase: PhaseRecipe) -> PhaseRecipe:
    """The recipe of a policy phase's samples that have object poses instead of frames."""
    return dataclasses.replace(
        phase, kind="action_expert", privileged_cache="", batch_size=phase.privileged_size, groups=1
    )


def phase_caches(recipe: Recipe, common: TrainingCache) -> dict[str, TrainingCache]:
    """The caches that phases name for themselves, all at once: none is missed hours later.

    Raises:
        ValueError: one cannot be read, or has other joints, actions, control period or objects than
            that of the run.
    """
    caches = {}
    for phase in recipe.phases:
        for folder in own_caches(phase):
            cache = caches[folder] = TrainingCache(folder)
            for what in ("joints", "action_names"):
                found, expected = getattr(cache, what), getattr(common, what)
                if found != expected:
                    raise RecipeError(
                        f"phase {phase.name}: {cache.folder} has the {what.replace('_', ' ')} "
                        f"{', '.join(found)}; {common.folder} has {', '.join(expected)}"
                    )
            if cache.period_s != common.period_s:
                raise RecipeError(
                    f"phase {phase.name}: {cache.folder} has the period {cache.period_s:.4g} s; "
                    f"{common.folder} has {common.period_s:.4g} s"
                )
            if cache.objects != common.objects:
                raise RecipeError(
                    f"phase {phase.name}: {cache.folder} knows {', '.join(cache.objects)}; "
                    f"{common.folder} knows {', '.join(common.objects)}"
                )
    return caches


def choose_streams(cache: TrainingCache, table: Path, recipe: Recipe) -> tuple[Stream, ...]:
    """The streams to train on, in the order of the table.

    Raises:
        ValueError: one that the cache or the table lacks.
    """
    names = recipe.data.streams or cache.streams
    for name in names:
        if name not in cache.streams:
            raise RecipeError(
                f"data.streams: {cache.folder} has no '{name}'; it has {', '.join(cache.streams)}"
            )
    known = load_stream_table(table)
    chosen = {name: known[name] for name in names}
    return tuple(chosen[name] for name in known.names if name in chosen)


def load_teacher(source: str, embodiment: Embodiment, cameras: list[Stream]) -> MultiSmolVLA:
    """A SmolVLA's RGB encoder, made to look at our cameras.

    Raises:
        ValueError: it cannot be read.
    """
    checkpoint = load_any_checkpoint(source, embodiment, weights_only=True)
    teacher = checkpoint.model.eval().requires_grad_(False)
    teacher.config = dataclasses.replace(teacher.config, streams=tuple(cameras))
    views = SiglipViews(teacher.config)
    views.load_state_dict(teacher.visual.state_dict())
    teacher.visual = views.eval().requires_grad_(False)
    return teacher
