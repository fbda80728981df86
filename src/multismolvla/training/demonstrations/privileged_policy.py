"""A checkpoint that acts on privileged object poses instead of frames, with realistic errors.

So the action expert is tried in closed loop before any encoder has been trained.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import torch

from multismolvla.embodiment.description import Embodiment
from multismolvla.interfaces import ActionChunk, Observation
from multismolvla.policy.checkpoint_source import load_any_checkpoint
from multismolvla.policy.engine import InferenceEngine
from multismolvla.policy.model import MultiSmolVLA
from multismolvla.policy.normalization import Normalizer
from multismolvla.policy.tokenizer import Tokenizer
from multismolvla.training.policy.auxiliary_targets import auxiliary_targets
from multismolvla.training.policy.known_scene import known_scene
from multismolvla.training.policy.privileged_reading import read_privileged


class PrivilegedPolicy:
    """Acts on the poses in `Observation.privileged`, in a simulator; frames are ignored.

    The first observation after a `reset` and the seed decide what is drawn until the next one: the
    errors of the poses, new for every chunk, and the noise that the flow starts from. So an episode
    repeats itself exactly, and no two have the same errors.

    Args:
        model: taken over by an `InferenceEngine`.
        threads: of torch, for the whole process; None leaves them alone.

    Raises:
        ValueError: the model has no object tokens or is for another arm; one line.
    """

    def __init__(
        self,
        model: MultiSmolVLA,
        tokenizer: Tokenizer,
        normalizer: Normalizer,
        embodiment: Embodiment,
        *,
        threads: int | None = None,
        seed: int = 0,
    ) -> None:
        config = model.config
        embodiment.check_policy(config.joints, config.action_names, "the checkpoint")
        self._kinematics = embodiment.kinematics
        if not model.config.objects:
            raise ValueError(
                "the checkpoint has no object tokens, so it cannot read privileged poses"
            )
        if threads is not None:
            torch.set_num_threads(threads)
        self._model, self._config = model, model.config
        self._engine = InferenceEngine(model)
        self._tokenizer, self._normalizer = tokenizer, normalizer
        self._seed = seed
        self.reset()

    @classmethod
    def load(cls, source: str | Path, embodiment: Embodiment, **options) -> PrivilegedPolicy:
        """Load a folder or, by its id `owner/name`, a checkpoint on the hub.

        Raises:
            ValueError: the checkpoint cannot be read or used; one line.
        """
        checkpoint = load_any_checkpoint(source, embodiment)
        try:
            return cls(
                checkpoint.model,
                checkpoint.tokenizer,
                checkpoint.normalizer,
                embodiment,
                **options,
            )
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from None

    def reset(self) -> None:
        """Begin another episode."""
        self._rng: np.random.Generator | None = None

    def infer(self, observation: Observation) -> ActionChunk:
        """Return the chunk whose row 0 is the target for the observation's own instant.

        Raises:
            ValueError: the pose of an object is missing; one line.
        """
        config = self._config
        missing = [name for name in config.objects if name not in observation.privileged]
        if missing:
            raise ValueError(
                f"no pose of {', '.join(missing)}: a privileged policy needs the poses of all "
                "objects, which only the simulator gives"
            )
        state = np.asarray(observation.state, np.float64)[None]
        poses = np.stack([observation.privileged[name] for name in config.objects])[None]
        if self._rng is None:
            first = zlib.crc32(np.float32([*state[0], *poses.ravel()]).tobytes())
            self._rng = np.random.default_rng([self._seed, first])
        labels = torch.full((1, len(config.views), 0, 0), torch.nan)
        scene = known_scene(
            self._rng, auxiliary_targets(state, self._kinematics, poses, config.objects, labels)
        )
        noise = self._rng.standard_normal((1, config.chunk_size, config.max_action_dim), np.float32)
        joints = torch.from_numpy(state)
        language = self._tokenizer.encode([observation.task])
        mask = torch.ones(1, len(config.streams), dtype=torch.bool)
        normalized = self._normalizer.normalize_state(joints)
        with torch.inference_mode():
            prefix = read_privileged(self._model, scene, mask, *language, normalized, compact=True)
            actions = self._engine.sample(prefix, torch.from_numpy(noise))
        radians = self._normalizer.unnormalize_action(actions, joints)
        return ActionChunk(observation.stamp_ns, config.period_s, radians[0].double().numpy())
