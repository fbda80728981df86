"""Have LeRobot 0.4.4 make a data set, fine-tune `smolvla_tiny` on it and act; keep what it saved.

Run with the versions of `requirements/lerobot.txt`: `python tests/golden/smolvla_tuned/make.py`.
Of the weights only those that training changed are kept. Names of files on the machine that made
them are replaced by the ones on the hub.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import tokenizers
import torch
from safetensors.torch import load_file, save_file

HERE = Path(__file__).parent
TINY = HERE.parent / "smolvla_tiny"
VLM = "HuggingFaceTB/SmolVLM2-500M-Video-Instruct"
JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
TASK = "put the red cube in the bin"
RENAMES = {"observation.images.front": "observation.images.camera1"}
HEIGHT, WIDTH, FRAMES, STEPS = 36, 48, 12, 3
MODES = ("MEAN_STD", "MIN_MAX", "QUANTILES", "QUANTILE10", "IDENTITY")

# PyPI's torchvision is compiled for another torch; it imports where these two are declared.
LIBRARY = torch.library.Library("torchvision", "DEF")
LIBRARY.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
LIBRARY.define(
    "roi_align(Tensor input, Tensor rois, float spatial_scale, int pooled_height, "
    "int pooled_width, int sampling_ratio, bool aligned) -> Tensor"
)

import lerobot.policies.smolvla.smolvlm_with_expert as vlm  # noqa: E402
import transformers.models.smolvlm.modeling_smolvlm as vision  # noqa: E402
from lerobot.configs.policies import PreTrainedConfig  # noqa: E402
from lerobot.configs.types import NormalizationMode  # noqa: E402
from lerobot.datasets.lerobot_dataset import LeRobotDataset  # noqa: E402
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy  # noqa: E402
from lerobot.policies.smolvla.processor_smolvla import SmolVLANewLineProcessor  # noqa: E402
from lerobot.processor import (  # noqa: E402
    AddBatchDimensionProcessorStep,
    DeviceProcessorStep,
    NormalizerProcessorStep,
    PolicyProcessorPipeline,
    RenameObservationsProcessorStep,
    TokenizerProcessorStep,
    UnnormalizerProcessorStep,
)
from lerobot.processor.converters import (  # noqa: E402
    policy_action_to_transition,
    transition_to_policy_action,
)
from transformers import PreTrainedTokenizerFast  # noqa: E402


class Processor:
    """All that LeRobot needs of the SmolVLM's processor, whose files are on the hub."""

    class tokenizer:
        fake_image_token_id = 421
        global_image_token_id = 420

    @classmethod
    def from_pretrained(cls, _: str) -> Processor:
        return cls()


def embed_patches(self, pixel_values, patch_attention_mask):
    """transformers 4.55 to 4.57 number the patches wrongly in float32 (its issue 41190)."""
    patches = self.patch_embedding(pixel_values).flatten(2).transpose(1, 2)
    return patches + self.position_embedding.weight


vlm.AutoProcessor = Processor
vision.SmolVLMVisionEmbeddings.forward = embed_patches


def make_data(root: Path) -> LeRobotDataset:
    names = {"names": [f"{joint}.pos" for joint in JOINTS]}
    numbers = {"dtype": "float32", "shape": (6,), **names}
    features = {
        "observation.state": numbers,
        "action": dict(numbers),
        "observation.images.front": {
            "dtype": "image",
            "shape": (HEIGHT, WIDTH, 3),
            "names": ["height", "width", "channels"],
        },
    }
    data = LeRobotDataset.create("local/tuned", 30, features, root=root, use_videos=False)
    rng = np.random.default_rng(0)
    for _ in range(2):
        # Degrees, some beyond 100; the gripper in per cent.
        start = np.array([-108.0, -60.0, 40.0, 20.0, -30.0, 10.0])
        end = np.array([106.0, 30.0, -20.0, 60.0, 45.0, 90.0])
        for step in range(FRAMES):
            state = start + (end - start) * step / (FRAMES - 1) + rng.normal(0, 0.5, 6)
            image = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
            data.add_frame(
                {
                    "observation.state": state.astype(np.float32),
                    "action": (state + rng.normal(0, 2.0, 6)).astype(np.float32),
                    "observation.images.front": image,
                    "task": TASK,
                }
            )
        data.save_episode()
    if hasattr(data, "finalize"):
        data.finalize()
    return LeRobotDataset("local/tuned", root=root, delta_timestamps={"action": DELTAS})


DELTAS = [step / 30 for step in range(10)]


def make_tokenizer(path: Path) -> PreTrainedTokenizerFast:
    words = ["?", "<end>", "<pad>", " ", "\n", *sorted(set(TASK.split()))]
    vocabulary = {word: place for place, word in enumerate(words)}
    model = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, "?"))
    model.pre_tokenizer = tokenizers.pre_tokenizers.Split(tokenizers.Regex(r"\s"), "isolated")
    model.save(str(path))
    return PreTrainedTokenizerFast(tokenizer_object=model, pad_token="<pad>", unk_token="?")


def pipelines(config, statistics, tokenizer):
    """As `make_smolvla_pre_post_processors`, with a tokenizer that is not on the hub."""
    features = {**config.input_features, **config.output_features}
    mapping = config.normalization_mapping
    pre = PolicyProcessorPipeline(
        steps=[
            RenameObservationsProcessorStep(rename_map=RENAMES),
            AddBatchDimensionProcessorStep(),
            SmolVLANewLineProcessor(),
            TokenizerProcessorStep(
                tokenizer=tokenizer,
                padding=config.pad_language_to,
                padding_side="right",
                max_length=config.tokenizer_max_length,
            ),
            DeviceProcessorStep(device="cpu"),
            NormalizerProcessorStep(features=features, norm_map=mapping, stats=statistics),
        ],
        name="policy_preprocessor",
    )
    post = PolicyProcessorPipeline(
        steps=[
            UnnormalizerProcessorStep(
                features=config.output_features, norm_map=mapping, stats=statistics
            ),
            DeviceProcessorStep(device="cpu"),
        ],
        name="policy_postprocessor",
        to_transition=policy_action_to_transition,
        to_output=transition_to_policy_action,
    )
    return pre, post


def set_mode(config, mode: str) -> None:
    config.normalization_mapping = {
        "VISUAL": NormalizationMode.IDENTITY,
        "STATE": NormalizationMode(mode),
        "ACTION": NormalizationMode(mode),
    }


def observation(frame: dict) -> dict:
    keys = ("observation.state", "observation.images.front", "task")
    return {key: frame[key] for key in keys}


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    work = Path(tempfile.mkdtemp())
    data = make_data(work / "data")
    base = work / "base"
    base.mkdir()
    shutil.copy(TINY / "model.safetensors", base)
    language = work / "vlm"
    language.mkdir()
    shutil.copy(TINY / "vlm_config.json", language / "config.json")
    settings = json.loads((TINY / "config.json").read_text())
    settings |= {"empty_cameras": 1, "vlm_model_name": str(language), "prefix_length": 40}
    (base / "config.json").write_text(json.dumps(settings))
    config = PreTrainedConfig.from_pretrained(base)
    set_mode(config, "MEAN_STD")
    policy = SmolVLAPolicy.from_pretrained(base, config=config)
    types = {name: tensor.dtype for name, tensor in policy.state_dict().items()}
    policy.float().train()
    tokenizer = make_tokenizer(HERE / "tokenizer.json")
    pre, post = pipelines(config, data.meta.stats, tokenizer)
    # Of the expert its first layer, so that little has to be kept.
    parameters = [
        parameter
        for name, parameter in policy.named_parameters()
        if parameter.requires_grad and (".layers." not in name or ".lm_expert.layers.0." in name)
    ]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3)
    for _, batch in zip(range(STEPS), torch.utils.data.DataLoader(data, 4), strict=False):
        loss, _ = policy.forward(pre(batch))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        print("loss", loss.item())

    # As LeRobot keeps them: rounded, then read again.
    for name, tensor in policy.state_dict().items():
        tensor.copy_(tensor.to(types[name]).to(tensor.dtype))
    saved = work / "saved"
    policy.save_pretrained(saved)
    for pipeline in (pre, post):
        pipeline.save_pretrained(saved)
    policy.eval()
    frame = data[5]
    noise = torch.randn(1, 10, 32)
    golden = {
        "image_u8": (frame["observation.images.front"] * 255).round().to(torch.uint8),
        "state": frame["observation.state"],
        "noise": noise,
    }
    for mode in MODES:
        set_mode(config, mode)
        pre, post = pipelines(config, data.meta.stats, tokenizer)
        policy.reset()
        batch = pre(observation(frame))
        actions = [post(policy.select_action(dict(batch), noise=noise)) for _ in range(10)]
        golden[f"actions.{mode}"] = torch.cat(actions)
    save_file({n: t.contiguous().clone() for n, t in golden.items()}, HERE / "golden.safetensors")

    before, after = load_file(TINY / "model.safetensors"), load_file(saved / "model.safetensors")
    changed = {
        name: tensor.to(types[name])
        for name, tensor in after.items()
        if not torch.equal(tensor.float(), before[name].float())
    }
    save_file(changed, HERE / "changed.safetensors")
    for path in sorted(saved.iterdir()):
        if path.suffix == ".json":
            text = path.read_text().replace(str(language), VLM)
            (HERE / path.name).write_text(json.dumps(json.loads(text), indent=1) + "\n")
        elif path.name != "model.safetensors" and path.suffix == ".safetensors":
            shutil.copy(path, HERE)
    for path in HERE.glob("*.safetensors"):
        path.chmod(0o644)
    print(len(changed), "of", len(after), "tensors changed")


if __name__ == "__main__":
    main()
