"""Low-rank adapters on the language model's attention, and their removal."""

import sys

import pytest
import torch
from torch import nn

from multismolvla.embodiment.so101 import KINEMATICS, SO101
from multismolvla.policy.config import tiny
from multismolvla.policy.lora import add_lora, merge_lora
from multismolvla.policy.model import MultiSmolVLA
from multismolvla.streams import Stream


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            setattr(self, name, nn.Linear(8, 8, bias=False))

    def forward(self, x):
        return self.o_proj(torch.tanh(self.q_proj(x) + self.k_proj(x)) + self.v_proj(x))


class Stack(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleDict({"self_attn": Attention(), "mlp": nn.Linear(8, 8)}) for _ in range(2)
        )

    def forward(self, x):
        for layer in self.layers:
            x = x + layer["self_attn"](x) + layer["mlp"](x)
        return x


class Model(nn.Module):
    """The names of the real model, nothing else of it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.text, self.expert = Stack(), Stack()

    def forward(self, x):
        return self.expert(self.text(x))


X = torch.randn(3, 8, generator=torch.Generator().manual_seed(1))


def train(model: nn.Module) -> None:
    """Two steps: in the first, only one half of each adapter has a gradient."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trainable, lr=1e-2)
    for _ in range(2):
        optimizer.zero_grad()
        model(X).square().mean().backward()
        optimizer.step()


def test_only_adapters_of_the_text_attention_train_beside_what_trained_outside():
    model = Model()
    model.expert.layers[0].requires_grad_(False)
    expert = {name for name, p in model.expert.named_parameters() if p.requires_grad}
    add_lora(model, rank=2)
    training = {name for name, p in model.text.named_parameters() if p.requires_grad}
    assert training == {
        f"layers.{n}.self_attn.{part}_proj.lora_{half}.default.weight"
        for n in range(2)
        for part in "qkvo"
        for half in "AB"
    }
    assert {name for name, p in model.expert.named_parameters() if p.requires_grad} == expert
    assert not any("lora" in name for name, _ in model.expert.named_parameters())


def test_the_real_model_has_the_names_that_the_adapters_look_for():
    model = MultiSmolVLA(
        tiny((Stream("wrist/rgb", "rgb", 32, 32, 30.0, "wrist_optical_frame"),), SO101), KINEMATICS
    )
    outside = {
        n for n, p in model.named_parameters() if p.requires_grad and not n.startswith("text.")
    }
    keys = model.state_dict().keys()
    add_lora(model, rank=2)
    training = {n for n, p in model.named_parameters() if p.requires_grad}
    adapters = training - outside
    assert outside < training
    assert all(name.startswith("text.layers.") and ".lora_" in name for name in adapters)
    assert len(adapters) == model.config.text.layers * 4 * 2
    merge_lora(model)
    assert model.state_dict().keys() == keys


def test_untrained_adapters_change_nothing():
    model = Model()
    before = model(X)
    add_lora(model)
    assert torch.equal(model(X), before)


def test_merging_leaves_a_plain_model_that_computes_the_same():
    model = Model()
    model.expert.requires_grad_(False)
    before = model(X)
    plain = {name: weight.clone() for name, weight in model.state_dict().items()}
    add_lora(model, rank=2, dropout=0.1)
    model.eval()
    train(model)
    trained = model(X)
    assert (trained - before).abs().max() > 1e-3
    merge_lora(model)
    torch.testing.assert_close(model(X), trained)

    merged = model.state_dict()
    assert {n: w.shape for n, w in merged.items()} == {n: w.shape for n, w in plain.items()}
    moved = {name for name in plain if not torch.equal(merged[name], plain[name])}
    assert moved == {f"text.layers.{n}.self_attn.{p}_proj.weight" for n in range(2) for p in "qkvo"}
    assert vars(model.text).keys() == vars(Model().text).keys()
    assert [type(module) for module in model.modules()] == [type(m) for m in Model().modules()]


def test_adapters_can_be_added_again_after_merging():
    model = Model()
    add_lora(model)
    train(model)
    merge_lora(model)
    before = model(X)
    add_lora(model)
    assert torch.equal(model(X), before)


def test_a_second_set_of_adapters_is_refused():
    model = Model()
    add_lora(model)
    with pytest.raises(ValueError, match="already"):
        add_lora(model)


def test_there_must_be_something_to_merge():
    with pytest.raises(ValueError, match="no LoRA adapters"):
        merge_lora(Model())


def test_a_model_without_such_layers_is_refused():
    model = Model()
    model.text = nn.Linear(8, 8)
    with pytest.raises(ValueError, match="has no layers"):
        add_lora(model)


def test_without_peft_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    model = Model()
    with pytest.raises(ValueError, match="pip install peft"):
        add_lora(model)
    assert all(p.requires_grad for p in model.parameters())
