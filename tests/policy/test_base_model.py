from pathlib import Path

import torch
from model_inputs import STREAMS

from multismolvla.embodiment.so101 import SO101
from multismolvla.policy.base_model import with_fourm_encoder
from multismolvla.policy.config import FourMConfig
from multismolvla.policy.lerobot_checkpoint import load_lerobot

GOLDEN = Path(__file__).parents[1] / "golden"


@torch.no_grad()
def test_smolvla_and_4m_make_one_model():
    smolvla, _ = load_lerobot(GOLDEN / "smolvla_tiny", SO101, units="radians")
    weights = GOLDEN / "fourm_tiny" / "encoder.safetensors"
    sizes = FourMConfig(dim=64, depth=3, heads=4)
    model = with_fourm_encoder(smolvla, STREAMS, sizes, weights)
    assert model.expert is smolvla.expert and model.text is smolvla.text

    frames = {s.name: torch.randn(1, s.modality.prepared_channels, 224, 224) for s in STREAMS}
    mask = torch.ones(1, len(STREAMS), dtype=torch.bool)
    views, _ = model.visual(frames, mask)
    words = model.text.embed(torch.arange(512))
    assert abs(views.square().mean().sqrt() / words.square().mean().sqrt() - 1) < 0.05

    language = torch.tensor([[1, 2, 3]])
    prefix = model.prefix(frames, mask, language, language > 0, torch.zeros(1, 32))
    assert torch.isfinite(model.sample(prefix, torch.randn(1, 10, 32))).all()
