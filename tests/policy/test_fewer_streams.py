"""A model for a robot with fewer streams."""

import dataclasses

import pytest
import torch
from model_inputs import CONFIG, NAMES, inputs, make_model

from multismolvla.training.policy.starting_model import with_fewer_streams

BLIND = dataclasses.replace(CONFIG, objects=("red_cube",), max_state_dim=18, view_tokens=False)
BOTH_VIEWS = ["rgb", "wrist/rgb"]
ONE_VIEW = ["wrist/thermal", "wrist/depth"]


@pytest.mark.parametrize(
    ("config", "kept"),
    [(CONFIG, BOTH_VIEWS), (BLIND, BOTH_VIEWS), (BLIND, ONE_VIEW)],
    ids=["view tokens", "objects", "objects in one view"],
)
def test_it_acts_as_with_the_others_masked(config, kept):
    model = make_model(config)
    fewer = with_fewer_streams(model, kept).eval()
    order = [name for name in NAMES if name in kept]
    assert [stream.name for stream in fewer.config.streams] == order
    given = inputs(batch=2)
    given["state"] = torch.randn(2, config.max_state_dim)
    frames = {name: given["frames"][name] for name in kept}
    mask = torch.tensor([[name in kept for name in NAMES]] * 2)
    noise = torch.randn(2, config.chunk_size, config.max_action_dim)
    with torch.inference_mode():
        expected = model.sample(model.prefix(**(given | {"mask": mask})), noise)
        seen = given | {"frames": frames, "mask": torch.ones(2, len(kept), dtype=torch.bool)}
        found = fewer.sample(fewer.prefix(**seen), noise)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("names", [["sonar"], []])
def test_a_stream_that_it_never_saw_is_refused(names):
    with pytest.raises(ValueError, match="the model sees rgb, "):
        with_fewer_streams(make_model(), names)
