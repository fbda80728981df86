"""One side of the policy bench in a process of its own: it loads, then answers with chunks.

The same file runs in the stack's environment and in LeRobot's, so both are timed by the same lines:
from prepared frames, tokens, state and noise to actions. The one argument is a JSON object with
`side`, `threads` and the keyword arguments of that side; each line of standard input names a file
of inputs, each line of standard output is a JSON object. What libraries print goes to the log.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

# Inputs -> actions (1, T, A). The inputs are `state`, `language`, `noise` and `frames.<stream>` for
# each stream in use.
Chunk = Callable[[Mapping[str, Tensor]], Tensor]
FRAMES = "frames."
SETTLE_S = 0.05


def lerobot(folder: str, language_model: str) -> Chunk:
    """LeRobot's SmolVLA from a folder that it would load from the hub.

    Args:
        language_model: folder with the `config.json` of the SmolVLM, in place of the hub's.
    """
    # PyPI's torchvision is compiled for another torch; it imports where these two are declared.
    torchvision = torch.library.Library("torchvision", "DEF")
    torchvision.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    torchvision.define(
        "roi_align(Tensor input, Tensor rois, float spatial_scale, int pooled_height, "
        "int pooled_width, int sampling_ratio, bool aligned) -> Tensor"
    )
    # By name, because the stack itself depends on none of them.
    configuration = importlib.import_module("lerobot.configs.policies")
    smolvla = importlib.import_module("lerobot.policies.smolvla.modeling_smolvla")
    vlm = importlib.import_module("lerobot.policies.smolvla.smolvlm_with_expert")
    vision = importlib.import_module("transformers.models.smolvlm.modeling_smolvlm")

    class Processor:
        """All that LeRobot needs of the SmolVLM's processor, whose files are on the hub."""

        class tokenizer:
            fake_image_token_id = 49189
            global_image_token_id = 49152

        @classmethod
        def from_pretrained(cls, _: str) -> Processor:
            return cls()

    vlm.AutoProcessor = Processor

    def embed_patches(self: nn.Module, pixel_values: Tensor, patch_attention_mask: Tensor):
        patches = self.patch_embedding(pixel_values).flatten(2).transpose(1, 2)
        return patches + self.position_embedding.weight

    # transformers 4.55 to 4.57 number the patches wrongly in float32 (its issue 41190).
    vision.SmolVLMVisionEmbeddings.forward = embed_patches

    config = configuration.PreTrainedConfig.from_pretrained(folder)
    config.vlm_model_name = language_model
    policy = smolvla.SmolVLAPolicy.from_pretrained(folder, config=config)
    cameras = [key.removeprefix("observation.images.") for key in config.image_features]

    @torch.no_grad()
    def chunk(inputs: Mapping[str, Tensor]) -> Tensor:
        language = inputs["language"]
        images = [inputs[f"{FRAMES}{camera}/rgb"] for camera in cameras]
        return policy.model.sample_actions(
            images,
            [torch.ones(1, dtype=torch.bool) for _ in images],
            language,
            torch.ones_like(language, dtype=torch.bool),
            inputs["state"],
            noise=inputs["noise"],
        )

    return chunk


def checkpoint(folder: str, precision: str) -> Chunk:
    """Our SmolVLA, from the folder that LeRobot loads."""
    from multismolvla.embodiment.so101 import SO101
    from multismolvla.policy.lerobot_checkpoint import load_lerobot

    model, _ = load_lerobot(folder, SO101, weights_only=True)
    return _ours(model, precision)


def random_weights(config: str, seed: int, precision: str) -> Chunk:
    """A model of our own with random weights.

    Args:
        config: folder of its `multismolvla.json`.
    """
    from multismolvla.embodiment.so101 import KINEMATICS
    from multismolvla.policy.config import load_config
    from multismolvla.policy.model import MultiSmolVLA

    torch.manual_seed(seed)
    return _ours(MultiSmolVLA(load_config(config), KINEMATICS), precision)


def _ours(model: nn.Module, precision: str) -> Chunk:
    from multismolvla.policy.engine import InferenceEngine

    streams = model.config.streams
    engine = InferenceEngine(model, precision)

    @torch.inference_mode()
    def chunk(inputs: Mapping[str, Tensor]) -> Tensor:
        frames = {k.removeprefix(FRAMES): v for k, v in inputs.items() if k.startswith(FRAMES)}
        mask = torch.tensor([[stream.name in frames for stream in streams]])
        language = inputs["language"]
        everything = torch.ones_like(language, dtype=torch.bool)
        prefix = engine.prefix(frames, mask, language, everything, inputs["state"])
        return engine.sample(prefix, inputs["noise"])

    return chunk


def first_action(folder: str) -> Chunk:
    """One action as the robot gets it, from a checkpoint and raw frames; the inputs are ignored."""
    import numpy as np

    from multismolvla.embodiment.so101 import SO101
    from multismolvla.policy.config import load_config
    from multismolvla.policy.dry_run import synthetic_observation
    from multismolvla.policy.learned_policy import LearnedPolicy

    streams = load_config(folder).streams
    policy = LearnedPolicy.load(folder, SO101)
    usable = [stream.name for stream in streams]
    observation = synthetic_observation(streams, usable, np.random.default_rng(0), SO101.home_rad)
    actions = policy.infer(observation).actions
    return lambda _: torch.from_numpy(actions)[None]


def peak_memory_bytes() -> int:
    """Most main memory that this process has held; `getrusage` would count its parent's as well."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


SIDES = {f.__name__: f for f in (lerobot, checkpoint, random_weights, first_action)}


def main(arguments: Sequence[str]) -> None:
    options = json.loads(arguments[0])
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def reply(**content) -> None:
        print(json.dumps(content), file=replies, flush=True)

    torch.set_num_threads(options.pop("threads"))
    chunk = SIDES[options.pop("side")](**options)
    versions = {"python": sys.version.split()[0]}
    for name in ("torch", "lerobot", "transformers"):
        if name in sys.modules:
            versions[name] = importlib.metadata.version(name)
    reply(versions=versions)
    for line in sys.stdin:
        inputs = load_file(line.strip())
        # OpenMP's threads of the process before this one still spin, waiting for work.
        time.sleep(SETTLE_S)
        wall_s, processor_s = time.perf_counter(), time.process_time()
        actions = chunk(inputs)
        reply(
            wall_s=time.perf_counter() - wall_s,
            processor_s=time.process_time() - processor_s,
            actions=actions[0].tolist(),
            peak_memory_bytes=peak_memory_bytes(),
        )


if __name__ == "__main__":
    main(sys.argv[1:])
