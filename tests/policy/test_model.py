import pytest
import torch
from model_inputs import CONFIG, STREAMS, inputs

from multismolvla.embodiment.so101 import KINEMATICS, SO101
from multismolvla.policy.config import PRESETS
from multismolvla.policy.model import MultiSmolVLA, Prefix, time_embedding

LIMITS = {"tiny": 1e6, "small": 10e6}


def parameters(name: str) -> int:
    with torch.device("meta"):
        return sum(
            p.numel() for p in MultiSmolVLA(PRESETS[name](STREAMS, SO101), KINEMATICS).parameters()
        )


@pytest.mark.parametrize("name", LIMITS)
def test_sizes_stay_within_their_limits(name):
    assert parameters(name) < LIMITS[name]


def test_smolvla_has_the_published_number_of_parameters():
    with torch.device("meta"):
        cameras = tuple(s for s in STREAMS if s.kind == "rgb")
        model = MultiSmolVLA(PRESETS["smolvla"](cameras, SO101), KINEMATICS)
    # 450,046,176 in lerobot/smolvla_base, of which 49280 x 960 are the unused output layer.
    assert sum(p.numel() for p in model.parameters()) == 450_046_176 - 49280 * 960


def test_time_embedding_is_sines_then_cosines_of_the_periods():
    found = time_embedding(torch.tensor([0.0, 0.001]), 4, 0.004, 4.0)
    quarter = torch.tensor([1.0, 2 * torch.pi * 0.001 / 4.0])
    assert torch.allclose(found[0], torch.tensor([0.0, 0.0, 1.0, 1.0]))
    assert torch.allclose(found[1, :2], torch.sin(torch.tensor([torch.pi / 2, quarter[1]])))


def test_the_residual_is_that_of_a_straight_path():
    torch.manual_seed(0)
    model = MultiSmolVLA(CONFIG, KINEMATICS)
    given, time = inputs(2), torch.tensor([0.25, 1.0])
    actions, noise = torch.randn(2, 10, 6), torch.randn(2, 10, 6)
    residual = model(**given, actions=actions, noise=noise, time=time)
    # At time 1 the noisy actions are the noise alone.
    velocity = model.velocity(model.prefix(**given), noise, torch.ones(2))
    assert torch.allclose(residual[1], (velocity - (noise - actions))[1], atol=1e-5)


def test_a_few_steps_learn_one_chunk_by_heart():
    torch.manual_seed(0)
    model, given = MultiSmolVLA(CONFIG, KINEMATICS), inputs()
    # One camera is enough here, and quick.
    given["mask"][:, 1:] = False
    target = torch.linspace(-1, 1, 60).reshape(1, 10, 6)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    draws = 32
    for _ in range(80):
        prefix = model.prefix(**given)
        several = Prefix(
            [(k.expand(draws, -1, -1, -1), v.expand(draws, -1, -1, -1)) for k, v in prefix.cache],
            prefix.mask.expand(draws, -1),
            prefix.end.expand(draws),
        )
        noise, time = torch.randn(draws, 10, 6), torch.rand(draws)
        x_t = time[:, None, None] * noise + (1 - time[:, None, None]) * target
        loss = (model.velocity(several, x_t, time) - (noise - target)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    with torch.no_grad():
        found = model.sample(model.prefix(**given), torch.randn(1, 10, 6))
    assert (found - target).abs().mean() < 0.2


def test_every_parameter_of_the_actions_path_gets_a_gradient():
    torch.manual_seed(0)
    model = MultiSmolVLA(CONFIG, KINEMATICS)
    shape = (1, 10, 6)
    residual = model(
        **inputs(), actions=torch.zeros(shape), noise=torch.ones(shape), time=torch.tensor([0.5])
    )
    residual.square().mean().backward()
    idle = {name for name, p in model.named_parameters() if p.grad is None}
    last = f"text.layers.{CONFIG.text.layers - 1}."
    # Of the language model's last layer only keys and values are read, and never its final norm.
    read = ("input_layernorm", "self_attn.k_proj", "self_attn.v_proj")
    assert idle == {"text.norm.weight"} | {
        name
        for name, _ in model.named_parameters()
        if name.startswith(last) and not name.removeprefix(last).startswith(read)
    }
