"""A checkpoint as a policy: observation in, chunk of joint targets out."""

from __future__ import annotations

import contextlib
import copy
import ctypes
import dataclasses
import gc
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from multismolvla.embodiment.description import Embodiment
from multismolvla.interfaces import ActionChunk, Observation
from multismolvla.policy.checkpoint import resolve
from multismolvla.policy.checkpoint_source import load_any_checkpoint
from multismolvla.policy.chunk_continuation import ChunkContinuation
from multismolvla.policy.dry_run import DryRunReport, dry_run
from multismolvla.policy.engine import InferenceEngine
from multismolvla.policy.examples import load_examples, made_up_examples
from multismolvla.policy.fast_linear import PRECISIONS, is_available
from multismolvla.policy.lerobot_normalization import StatisticsChoice
from multismolvla.policy.model import MultiSmolVLA
from multismolvla.policy.normalization import Normalizer
from multismolvla.policy.precision_choice import REFERENCE, Choice, choose
from multismolvla.policy.preprocessing import prepare_frame
from multismolvla.policy.real_time_chunking import RealTimeChunking
from multismolvla.policy.solvers import Velocity
from multismolvla.policy.tokenizer import Tokenizer
from multismolvla.streams import Stream

# Giving main memory back that nothing uses any more.


def release_memory() -> None:
    """Collect garbage and have the C library give its free pages back to the system.

    Without it the peak of loading stays with the process: glibc keeps what was freed.
    """
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL("libc.so.6").malloc_trim(0)


AUTO = "auto"
# What `threads: 0` chooses from, as far as the machine has as many processors.
THREADS = (1, 2)


class LearnedPolicy:
    """Runs MultiSmolVLA; one call at a time, from any thread.

    The checkpoint's own stream table decides what is looked at. A stream is used if the checkpoint
    knows it, the observation's mask allows it and there is a frame of it. One that the checkpoint
    knows and the observation lacks is therefore masked, and one that only the observation has is
    ignored: a checkpoint may be run on a robot with more cameras or fewer. Only an observation of
    which the checkpoint knows no stream at all is refused, since it comes from another robot. That
    every stream is masked is legal here; whether the arm may move then is not this class's matter.

    A frame of the same content as the stream's last one is neither prepared nor encoded again.

    Args:
        model: taken over by an `InferenceEngine`.
        embodiment: the arm that it moves.
        device: `cpu`, `cuda`, or `auto` for the GPU if there is one.
        threads: of torch in the calling thread; 0 has the dry run choose among `THREADS`, None
            leaves them alone.
        seed: of the noise that the flow starts from, which begins again with each `reset`: the same
            observations then give the same chunks. None draws new noise each time.
        noise_scale: standard deviation of that noise. 1, as in training, draws from all that was
            demonstrated; 0 begins at its middle, so that the same observation gives the same chunk
            and one chunk agrees with the next.
        chunking: has each chunk continue the last one, which about doubles its time. A
            chunk then depends on what inferences take. The weight of the guidance is kept within
            the number of denoising steps, beyond which the solver overshoots.
        now_ns: the clock of the observations' stamps, for `chunking`: see `ChunkContinuation`.
        precision: of the weights, one of `PRECISIONS`, see `InferenceEngine`; `auto` has the dry
            run choose, and is float32 until then and on a GPU.
        examples: observations to choose by; random ones without any.
    """

    reads_privileged = False

    def __init__(
        self,
        model: MultiSmolVLA,
        tokenizer: Tokenizer,
        normalizer: Normalizer,
        embodiment: Embodiment,
        *,
        device: str = "cpu",
        threads: int | None = None,
        seed: int | None = None,
        noise_scale: float = 0.0,
        chunking: RealTimeChunking | None = None,
        now_ns: Callable[[], int] | None = None,
        precision: str = REFERENCE,
        examples: Sequence[Observation] = (),
    ) -> None:
        config = model.config
        embodiment.check_policy(config.joints, config.action_names, "the checkpoint")
        self._rest = embodiment.rest_state
        self._steps = embodiment.action_space.deltas
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self._device = torch.device(device)
        self._config = model.config
        self._parameters = sum(p.numel() for p in model.parameters())
        self._differentiable = chunking is not None
        self._threads = threads
        # What the dry run chooses from.
        self._precisions = (precision,)
        self._numbers = (threads or torch.get_num_threads(),)
        if precision == AUTO:
            self._precisions = tuple(filter(self._can, PRECISIONS))
        if threads == 0:
            self._threads = THREADS[0]
            self._numbers = tuple(n for n in THREADS if n <= len(os.sched_getaffinity(0)))
        self._set_threads()
        model = model.to(self._device)
        # The model itself, until the dry run has chosen: engines are made of it.
        self._source: MultiSmolVLA | None = None
        if len(self._precisions) > 1 or len(self._numbers) > 1:
            self._source = model
        self._engine = self._make_engine(model, self._precisions[0])
        self._examples = examples
        self._tokenizer = tokenizer
        self._normalizer = normalizer
        self._seed = seed
        self._noise_scale = noise_scale
        self._continuation = None
        if chunking is not None:
            weight = min(chunking.max_guidance_weight, self._config.denoising_steps)
            chunking = dataclasses.replace(chunking, max_guidance_weight=weight)
            self._continuation = ChunkContinuation(chunking, self._config.period_s, now_ns)
        self._load_s = 0.0
        # On the CPU whatever the device, so that a seed means the same noise everywhere.
        self._generator = torch.Generator()
        # Per stream: shape and bytes of the last frame, and what was prepared from it.
        self._prepared: dict[str, tuple[tuple, Tensor]] = {}
        self.reset()

    @classmethod
    def load(
        cls,
        source: str | Path,
        embodiment: Embodiment,
        cameras: Mapping[str, str] | None = None,
        choice: StatisticsChoice | None = None,
        **options,
    ) -> LearnedPolicy:
        """Load a folder, `small`, or by its id `owner/name` a checkpoint on the hub.

        Args:
            embodiment: the arm that it is to move.
            cameras: camera of a LeRobot checkpoint -> our stream.
            choice: unit and statistics of a LeRobot checkpoint, where its files leave them open.
            options: keyword arguments of the class.

        Raises:
            ValueError: the checkpoint cannot be read or is for another robot; one line.
        """
        started = time.perf_counter()
        folder = resolve(source)
        model, config, tokenizer, normalizer = load_any_checkpoint(
            folder, embodiment, cameras, choice
        )
        if options.get("precision") == AUTO:
            options["examples"] = load_examples(folder, config.streams, len(config.joints))
        policy = cls(model, tokenizer, normalizer, embodiment, **options)
        policy._load_s = time.perf_counter() - started
        return policy

    @property
    def streams(self) -> tuple[Stream, ...]:
        """What the checkpoint knows how to look at."""
        return self._config.streams

    def reset(self) -> None:
        """Begin the noise again; forget the last frames and the last chunk."""
        if self._seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(self._seed)
        self._prepared.clear()
        self._engine.forget()
        self.forget_chunk()

    def forget_chunk(self) -> None:
        """The last chunk is not being executed: the next one need not continue it."""
        if self._continuation:
            self._continuation.forget()

    def infer(self, observation: Observation) -> ActionChunk:
        """Return the chunk whose row 0 is the target for the observation's own instant.

        Raises:
            ValueError: the state, the instruction or a frame in use is not what the model was
                built for; one line.
        """
        self._set_threads()
        joints = self._joints(observation.state)
        if self._continuation is None:
            with torch.inference_mode():
                actions = self._actions(observation, joints)
        else:
            guide = self._continuation.begin(
                observation.stamp_ns, observation.task, partial(self._in_model_units, joints)
            )
            # Guidance differentiates the velocity, which tensors of the inference mode forbid.
            with torch.no_grad():
                actions = self._actions(observation, joints, guide)
        radians = self._normalizer.unnormalize_action(actions.cpu(), joints)
        if self._continuation is not None:
            self._continuation.end(observation.stamp_ns, observation.task, radians)
        period_s = self._config.period_s
        return ActionChunk(observation.stamp_ns, period_s, radians[0].double().numpy())

    def dry_run(self) -> DryRunReport:
        """Choose precision and threads where that is left to it, then measure a few chunks from
        random observations; what comes after is as after a reset."""
        choice = None if self._source is None else self._choose()
        release_memory()
        return dry_run(
            self,
            self._config.streams,
            self._rest,
            parameters=self._parameters,
            load_s=self._load_s,
            choice=choice,
        )

    def _choose(self) -> Choice:
        started, source = self._engine, self._source

        def make(precision: str) -> _Candidate:
            nonlocal started
            engine, started = started, None  # the first is there already
            return _Candidate(self, engine or self._make_engine(source, precision))

        examples = self._examples or made_up_examples(self._config.streams, self._rest)
        choice, best = choose(make, self._precisions, self._numbers, examples, steps=self._steps)
        self._engine, self._threads = best.engine, choice.threads
        # With them go the weights of what was not taken.
        self._source, self._examples = None, ()
        return choice

    def _make_engine(self, model: MultiSmolVLA, precision: str) -> InferenceEngine:
        if self._source is not None:
            # The modules are another engine's, whose weights it packs; parameters are shared.
            shared = {id(t): t for t in (*model.parameters(), *model.buffers())}
            model = copy.deepcopy(model, shared)
        return InferenceEngine(model, precision, differentiable=self._differentiable)

    def _can(self, precision: str) -> bool:
        return precision == REFERENCE or (self._device.type == "cpu" and is_available(precision))

    def _set_threads(self) -> None:
        # Each thread has a number of its own.
        if self._threads is not None and torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)

    def _in_model_units(self, joints: Tensor, radians: Tensor) -> Tensor:
        """First rows of a chunk that begins at `joints`: (1, P, J) radians as the model has them.

        Without what pads them, which means nothing.
        """
        normalized = self._normalizer.normalize_action(radians, joints)
        return normalized[..., : len(self._config.action_names)].to(self._device)

    def _actions(
        self,
        observation: Observation,
        joints: Tensor,
        guide: Callable[[Velocity], Velocity] | None = None,
    ) -> Tensor:
        """The chunk (1, T, max_action_dim) in the model's units."""
        config = self._config
        state = self._normalizer.normalize_state(joints)[None]
        language, language_mask = self._tokenizer.encode([observation.task])
        frames = self._frames(observation)
        mask = torch.tensor([[stream.name in frames for stream in config.streams]])
        noise = self._noise_scale * torch.randn(
            (1, config.chunk_size, config.max_action_dim), generator=self._generator
        )
        prefix = self._engine.prefix(
            frames,
            mask.to(self._device),
            language.to(self._device),
            language_mask.to(self._device),
            state.to(self._device),
        )
        return self._engine.sample(prefix, noise.to(self._device), guide=guide)

    def _joints(self, state: np.ndarray) -> Tensor:
        """The state (J,), checked."""
        joints = np.asarray(state, dtype=np.float64)
        count = len(self._config.joints)
        if joints.shape != (count,) or not np.isfinite(joints).all():
            raise ValueError(f"state is {joints.tolist()}; expected {count} finite joint angles")
        return torch.from_numpy(joints)

    def _frames(self, observation: Observation) -> dict[str, Tensor]:
        """The prepared frames (1, C, h, w) of the streams in use."""
        streams = self._config.streams
        if observation.mask and not any(s.name in observation.mask for s in streams):
            raise ValueError(
                f"this checkpoint uses {', '.join(s.name for s in streams)}, but the "
                f"observation has none of these; it has {', '.join(observation.mask)}"
            )
        frames = {}
        for stream in streams:
            frame = observation.frames.get(stream.name)
            if frame is not None and observation.mask.get(stream.name, False):
                frames[stream.name] = self._frame(stream, frame)
        return frames

    def _frame(self, stream: Stream, frame: np.ndarray) -> Tensor:
        # By content: each observation brings new arrays, and an array may have been written to.
        content = (np.shape(frame), np.asarray(frame).dtype, np.asarray(frame).tobytes())
        last = self._prepared.get(stream.name)
        if last is None or last[0] != content:
            prepared = prepare_frame(stream, frame, self._config)[None].to(self._device)
            last = self._prepared[stream.name] = (content, prepared)
        return last[1]


class _Candidate:
    """The policy with another engine; see `precision_choice.Candidate`."""

    def __init__(self, policy: LearnedPolicy, engine: InferenceEngine) -> None:
        self._policy = policy
        self.engine = engine

    def infer(self, observation: Observation, threads: int) -> np.ndarray:
        policy = self._policy
        policy._engine, policy._threads = self.engine, threads
        policy.reset()
        policy._generator.manual_seed(0)
        return policy.infer(observation).actions
