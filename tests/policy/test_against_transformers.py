"""Our vision tower and language model against those of `transformers`, with the same weights."""

import torch
from transformers import LlamaConfig, LlamaModel
from transformers.models.smolvlm.configuration_smolvlm import SmolVLMVisionConfig
from transformers.models.smolvlm.modeling_smolvlm import SmolVLMVisionTransformer

from multismolvla.policy.config import SiglipConfig, TextConfig
from multismolvla.policy.siglip import SiglipTower
from multismolvla.policy.text import TextModel


@torch.no_grad()
def test_the_vision_tower_is_smolvlms():
    sizes = SiglipConfig(48, 2, 4, 96, image_size=64, patch_size=16)
    theirs = SmolVLMVisionTransformer(
        SmolVLMVisionConfig(
            hidden_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=96,
            image_size=64,
            patch_size=16,
            attn_implementation="eager",
        )
    ).eval()
    ours = SiglipTower(sizes)
    weights = theirs.state_dict()
    ours.load_state_dict(
        {n.removeprefix("embeddings.").removeprefix("encoder."): t for n, t in weights.items()}
    )
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    expected = theirs(images).last_hidden_state
    assert torch.allclose(ours(images), expected, atol=1e-5)


@torch.no_grad()
def test_the_cache_is_that_of_a_llama():
    sizes = TextConfig(64, 3, 4, 2, 16, 128, 100)
    theirs = LlamaModel(
        LlamaConfig(
            vocab_size=100,
            hidden_size=64,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=16,
            intermediate_size=128,
            rms_norm_eps=1e-5,
            rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
            attn_implementation="eager",
        )
    ).eval()
    ours = TextModel(sizes)
    ours.load_state_dict(theirs.state_dict())
    embeddings = torch.randn(2, 7, 64)
    # A Llama is causal; so is this mask.
    mask = torch.ones(7, 7, dtype=torch.bool).tril().expand(2, -1, -1)
    cache = ours.prefill(embeddings, mask, torch.arange(7).expand(2, -1))
    expected = theirs(inputs_embeds=embeddings, use_cache=True).past_key_values
    for (key, value), layer in zip(cache, expected.layers, strict=True):
        assert torch.allclose(key, layer.keys, atol=1e-5)
        assert torch.allclose(value, layer.values, atol=1e-5)
