"""Batches of a training step, with masked and damaged streams."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from multismolvla.data.cache import TrainingCache
from multismolvla.data.view_camera import view_cameras
from multismolvla.embodiment.kinematics import Kinematics
from multismolvla.faults.fault import FrameFault
from multismolvla.faults.registry import FAULTS
from multismolvla.modalities.conversion import from_counts
from multismolvla.modalities.registry import modality_of
from multismolvla.policy.config import PolicyConfig
from multismolvla.policy.flow_matching import flow_time
from multismolvla.policy.normalization import Normalizer
from multismolvla.policy.object_tokens import Estimate
from multismolvla.policy.preprocessing import prepare_frame
from multismolvla.policy.tokenizer import Tokenizer
from multismolvla.training.policy.auxiliary_targets import (
    AuxiliaryTargets,
    auxiliary_targets,
    label_shares,
)
from multismolvla.training.policy.dropout_curriculum import draw_hard, draw_soft, rate_at
from multismolvla.training.policy.image_augmentation import augment
from multismolvla.training.policy.known_scene import known_scene
from multismolvla.training.policy.recipe import PhaseRecipe
from multismolvla.training.policy.view_cache import ViewCache

FRAME_FAULTS: tuple[type[FrameFault], ...] = tuple(
    fault for fault in FAULTS.values() if issubclass(fault, FrameFault)
)
SEVERITIES = (1, 2, 3)
# A share of the damaged frames is sound and old: frozen, late or of a low rate.
STALE_SHARE = 0.3
# Oldest of them, in samples of an episode.
MAX_STALE = 12


def draw_stale(rng: np.random.Generator, soft: np.ndarray) -> np.ndarray:
    """Age in samples (B, S) of the frames, 0 = fresh; only damaged ones (B, S) are old."""
    old = soft & (rng.random(soft.shape) < STALE_SHARE)
    return np.where(old, rng.integers(1, MAX_STALE + 1, soft.shape), 0)


def corrupt(rng: np.random.Generator, kind: str, frame: np.ndarray) -> np.ndarray:
    """Damage one frame (H, W[, 3]), in SI units, by a fault and a severity drawn at random."""
    fault = FRAME_FAULTS[rng.integers(len(FRAME_FAULTS))]
    severity = int(rng.choice(SEVERITIES))
    return fault.at_severity(kind, severity, int(rng.integers(2**31))).corrupt(frame)


# The batch of a step, as a function of seed, phase, process and step alone.
#
# Nothing is remembered between two steps, so an interrupted run continues exactly where it was,
# and several threads may prepare batches at once.


@dataclass(frozen=True)
class Group:
    """Samples that are computed together.

    Attributes:
        frames: stream -> (B, C, h, w) prepared; empty where `views` is given.
        mask: (B, S) bool, True = usable; `lost`, (B, S) bool: masked on purpose or damaged.
        language, language_mask: (B, L).
        state: (B, max_state_dim), joints with noise, normalised.
        joints: (B, J) radians, without noise.
        actions: (B, T, A) normalised; noise (B, K, T, A) and time (B, K).
        targets: of the auxiliary heads, or None.
        views, present: (B, V, T, H) encoded before, and (B, V) which of them there are, or None.
        scene: object poses instead of frames, or None.
        taught: RGB stream -> frames as the teacher's encoder reads them; without a teacher empty.
    """

    frames: Mapping[str, Tensor]
    mask: Tensor
    lost: Tensor
    language: Tensor
    language_mask: Tensor
    state: Tensor
    joints: Tensor
    actions: Tensor
    noise: Tensor
    time: Tensor
    targets: AuxiliaryTargets | None = None
    views: Tensor | None = None
    present: Tensor | None = None
    scene: Estimate | None = None
    taught: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.mask)

    def to(self, device: torch.device | str) -> Group:
        """The same on another device."""
        return _moved(self, device)


def _moved(value, device):
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, Estimate):
        return Estimate(*(_moved(part, device) for part in value))
    if isinstance(value, Mapping):
        return {key: _moved(item, device) for key, item in value.items()}
    if dataclasses.is_dataclass(value):
        names = (field.name for field in dataclasses.fields(value))
        return dataclasses.replace(value, **{n: _moved(getattr(value, n), device) for n in names})
    return value


class BatchMaker:
    """Makes the batches of one phase.

    Args:
        indices: samples to draw from.
        seed: numbers that make this phase's draws different from all others.
        rank, processes: which of how many makes these.
        views: encoded before, with an encoder that does not train.
        teacher: configuration of the SmolVLA whose tokens are to be met.

    Raises:
        ValueError: the cache has other streams, unless the phase's kind is `action_expert`,
            or chunks that are too short.
    """

    def __init__(
        self,
        cache: TrainingCache,
        indices: np.ndarray,
        config: PolicyConfig,
        tokenizer: Tokenizer,
        normalizer: Normalizer,
        kinematics: Kinematics | None,
        phase: PhaseRecipe,
        seed: Sequence[int],
        rank: int = 0,
        processes: int = 1,
        views: ViewCache | None = None,
        teacher: PolicyConfig | None = None,
    ) -> None:
        missing = [s.name for s in config.streams if s.name not in cache.streams]
        if missing and phase.kind != "action_expert":
            raise ValueError(
                f"{cache.folder}: has no stream '{missing[0]}'; it has {', '.join(cache.streams)}"
            )
        rows = cache.array("chunk").shape[1]
        if rows < config.chunk_size:
            raise ValueError(
                f"{cache.folder}: chunks have {rows} rows; the model needs {config.chunk_size}"
            )
        if not len(indices):
            raise ValueError(f"{cache.folder}: has no samples to train on")
        self._cache, self._indices, self._config = cache, indices, config
        self._kinematics = kinematics
        self._normalizer, self._phase, self._seed = normalizer, phase, tuple(seed)
        self._rank, self._processes = rank, processes
        self._views, self._teacher = views, teacher
        self._language = tokenizer.encode(cache.instructions)
        # An action-expert phase reads no frames: all streams count as usable.
        self._columns = (
            None if missing else [cache.streams.index(stream.name) for stream in config.streams]
        )
        starts = {i: episode["start"] for i, episode in enumerate(cache.episodes)}
        self._starts = np.array([starts[i] for i in range(len(starts))])
        self._cameras = np.stack(
            [view_cameras(episode["meta"], config.views) for episode in cache.episodes]
        )
        self._order = lru_cache(maxsize=2)(self._permutation)

    def make(self, step: int) -> list[Group]:
        """The groups of a step (counted from 0)."""
        phase = self._phase
        rng = np.random.default_rng([*self._seed, self._rank, step])
        rate = rate_at(phase.dropout, step / max(1, phase.steps - 1))
        parts = np.split(self.chosen(step), phase.groups)
        return [self.group(rng, part, rate, step / phase.steps) for part in parts]

    def chosen(self, step: int) -> np.ndarray:
        """Samples of a step: all of them in a new order in every epoch."""
        size = self._phase.batch_size
        first = (step * self._processes + self._rank) * size
        places = np.arange(first, first + size)
        count = len(self._indices)
        return np.array([self._order(place // count)[place % count] for place in places])

    def group(
        self, rng: np.random.Generator, samples: np.ndarray, rate: float, progress: float = 0.0
    ) -> Group:
        """Samples with streams dropped; with late fusion all of them lose the same ones."""
        config, phase = self._config, self._phase
        usable = self._usable(samples)
        # Streams that add up before they are encoded cost the same whether they are there or not;
        # otherwise a stream that a whole group lacks is not computed.
        apart = config.fourm is not None and config.fourm.fusion == "early"
        draws = len(samples) if apart else 1
        drawn = [draw_hard(rng, config.streams, phase.dropout, rate) for _ in range(draws)]
        hard = np.broadcast_to(np.stack(drawn), usable.shape).copy()
        # A recording may lack streams already: never drop the last one.
        hard[~(usable & ~hard).any(axis=1)] = False
        soft = draw_soft(rng, hard, phase.dropout, rate)
        mask = usable & ~hard
        fields = self._fields(rng, samples)
        if self._views is not None:
            views, present, mask, lost = self._views.read(rng, samples, progress)
            return Group({}, mask, lost, **fields, views=views, present=present)
        targets = self._targets(samples) if phase.auxiliary or phase.kind != "policy" else None
        if phase.kind == "action_expert":
            lost = torch.from_numpy(hard | soft)
            scene = known_scene(rng, targets)
            return Group({}, torch.from_numpy(mask), lost, **fields, scene=scene)
        stored = self._stored(rng, samples, mask, soft)
        varied = augment(rng, stored, config.streams, phase.augment)
        frames = self._prepared(rng, varied, soft)
        more = {"targets": targets, "taught": self._taught(varied)}
        return Group(
            frames, torch.from_numpy(mask), torch.from_numpy(hard | soft), **fields, **more
        )

    def _usable(self, samples: np.ndarray) -> np.ndarray:
        """(B, S) bool, which streams a recording has."""
        if self._columns is None:
            return np.ones((len(samples), len(self._config.streams)), bool)
        return self._cache.array("mask")[samples][:, self._columns]

    def _fields(self, rng: np.random.Generator, samples: np.ndarray) -> dict[str, Tensor]:
        """Everything but frames."""
        cache, config, phase = self._cache, self._config, self._phase
        joints = torch.from_numpy(cache.array("state")[samples].astype(np.float64))
        chunk = torch.from_numpy(cache.array("chunk")[samples, : config.chunk_size])
        noisy = joints + torch.from_numpy(rng.normal(0.0, phase.state_noise_rad, joints.shape))
        state = self._normalizer.normalize_state(noisy)
        state[torch.from_numpy(rng.random(len(samples)) < phase.state_dropout)] = 0.0
        actions = self._normalizer.normalize_action(chunk, joints)
        draws = 0 if phase.kind == "perception" else phase.draws
        shape = (len(samples), draws, *actions.shape[1:])
        # Stratified: the draws of one observation lie in different parts of the flow.
        uniform = (np.arange(draws) + rng.random((len(samples), draws))) / max(draws, 1)
        time = flow_time(uniform)
        instruction = torch.from_numpy(cache.array("instruction")[samples])
        return {
            "language": self._language[0][instruction],
            "language_mask": self._language[1][instruction],
            "state": state,
            "joints": joints.float(),
            "actions": actions,
            "noise": torch.from_numpy(rng.standard_normal(shape, dtype=np.float32)),
            "time": torch.from_numpy(time.astype(np.float32)),
        }

    def _stored(
        self, rng: np.random.Generator, samples: np.ndarray, mask: np.ndarray, soft: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Stored frames of the streams that any sample may use, some of them old ones."""
        begin = self._starts[self._cache.array("episode")[samples]]
        if not self._cache.sequential:
            begin = samples
        old = np.maximum(samples[:, None] - draw_stale(rng, soft), begin[:, None])
        return {
            stream.name: self._cache.array(stream.name)[old[:, column]]
            for column, stream in enumerate(self._config.streams)
            if mask[:, column].any()
        }

    def _prepared(
        self, rng: np.random.Generator, varied: Mapping[str, np.ndarray], soft: np.ndarray
    ) -> dict[str, Tensor]:
        """Damaged, and as the encoder reads them."""
        frames = {}
        for column, stream in enumerate(self._config.streams):
            if stream.name not in varied:
                continue
            batch = from_counts(stream.modality, varied[stream.name])
            damaged = np.flatnonzero(soft[:, column])
            if len(damaged):
                batch = batch.copy()
                for row in damaged:
                    batch[row] = corrupt(rng, stream.kind, batch[row])
            frames[stream.name] = prepare_frame(stream, batch, self._config)
        return frames

    def _taught(self, varied: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
        """The same frames for the teacher, undamaged."""
        if self._teacher is None:
            return {}
        return {
            stream.name: prepare_frame(stream, varied[stream.name], self._teacher)
            for stream in self._teacher.streams
            if stream.name in varied
        }

    def _targets(self, samples: np.ndarray) -> AuxiliaryTargets:
        cache, config = self._cache, self._config
        # From all streams of the cache: labels are targets even where the model does not read them.
        labels = {}
        # An action-expert phase has no view tokens to compare with labels.
        for name in cache.streams if self._phase.kind != "action_expert" else ():
            view = name.rpartition("/")[0]
            if modality_of(name).labels and view in config.views:
                labels[view] = cache.array(name)[samples]
        side = round(config.tokens_per_view**0.5)
        shares = label_shares(labels, config.views, side, len(samples))
        poses = cache.array("object_poses")[samples]
        state = cache.array("state")[samples]
        cameras = self._cameras[cache.array("episode")[samples]]
        return auxiliary_targets(state, self._kinematics, poses, cache.objects, shares, cameras)

    def _permutation(self, epoch: int) -> np.ndarray:
        # Without the rank: the processes share one order and take different parts of it.
        return np.random.default_rng([*self._seed, 1 << 20, epoch]).permutation(self._indices)
