"""A tiny model and inputs for it."""

import torch

from multismolvla.embodiment.so101 import KINEMATICS, SO101
from multismolvla.modalities.registry import kinds
from multismolvla.policy.config import PRESETS, PolicyConfig
from multismolvla.policy.model import MultiSmolVLA
from multismolvla.streams import Stream

STREAMS = tuple(
    Stream(f"{view}{kind}", kind, 32, 32, 15.0, "optical_frame")
    for view in ("", "wrist/")
    for kind in kinds()
)
NAMES = [stream.name for stream in STREAMS]
CONFIG = PRESETS["tiny"](STREAMS, SO101)


def make_model(config: PolicyConfig = CONFIG) -> MultiSmolVLA:
    torch.manual_seed(0)
    return MultiSmolVLA(config, KINEMATICS).eval()


def inputs(batch: int = 1, seed: int = 1) -> dict:
    generator = torch.Generator().manual_seed(seed)
    return {
        "frames": {
            s.name: torch.randn(batch, s.modality.prepared_channels, 32, 32, generator=generator)
            for s in STREAMS
        },
        "mask": torch.ones(batch, len(STREAMS), dtype=torch.bool),
        "language": torch.randint(0, 512, (batch, 5), generator=generator),
        "language_mask": torch.ones(batch, 5, dtype=torch.bool),
        "state": torch.randn(batch, CONFIG.max_state_dim, generator=generator),
    }
