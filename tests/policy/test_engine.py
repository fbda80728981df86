"""The engine gives the model's actions, and does not do twice what once was enough for."""

import copy
import dataclasses

import pytest
import torch
from model_inputs import CONFIG, NAMES, STREAMS, inputs, make_model
from torch import nn

from multismolvla.policy import fast_linear
from multismolvla.policy.config import SiglipConfig
from multismolvla.policy.engine import InferenceEngine
from multismolvla.policy.fast_linear import Int8Linear, is_available
from multismolvla.policy.real_time_chunking import RealTimeChunking
from multismolvla.processor import Processor

RGB = tuple(stream for stream in STREAMS if stream.kind == "rgb")
SIGLIP = dataclasses.replace(
    CONFIG,
    encoder="siglip",
    fourm=None,
    siglip=SiglipConfig(48, 2, 4, 96, image_size=32, patch_size=4, shuffle=2),
    streams=RGB,
)
needs_int8 = pytest.mark.skipif(not is_available("int8"), reason="no int8 operators here")
needs_bfloat16 = pytest.mark.skipif(
    not is_available("bfloat16"), reason="this processor does not multiply bfloat16"
)
pytestmark = pytest.mark.usefixtures("no_gradients")


@pytest.fixture
def no_gradients():
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def models():
    return {"fourm": make_model(CONFIG), "siglip": make_model(SIGLIP)}


def given_to(model, mask=None, seed=1) -> dict:
    given = inputs(seed=seed)
    names = [stream.name for stream in model.config.streams]
    given["frames"] = {name: given["frames"][name] for name in names}
    given["mask"] = torch.tensor([mask or [True] * len(names)])
    return given


def actions(model, given, **options):
    noise = torch.randn(1, 10, 6, generator=torch.Generator().manual_seed(5))
    return model.sample(model.prefix(**given), noise, **options)


def relative(actual, expected) -> float:
    return float((actual - expected).norm() / expected.norm())


MASKS = {
    "fourm": [None, [True] + [False] * 7, [False] * 4 + [True, False] * 2, [False] * 8],
    "siglip": [None, [True, False], [False, True], [False, False]],
}


@pytest.mark.parametrize(("encoder", "mask"), [(e, m) for e, ms in MASKS.items() for m in ms])
def test_actions_are_the_model_s(models, encoder, mask):
    model = models[encoder]
    given = given_to(model, mask)
    expected = actions(model, given)
    assert relative(actions(InferenceEngine(copy.deepcopy(model)), given), expected) < 1e-5


@needs_int8
@pytest.mark.parametrize("encoder", MASKS)
def test_int8_costs_a_percent(models, encoder):
    model = models[encoder]
    given = given_to(model)
    engine = InferenceEngine(copy.deepcopy(model), "int8")
    assert 0 < relative(actions(engine, given), actions(model, given)) < 0.02


@needs_bfloat16
@pytest.mark.parametrize(("encoder", "mask"), [(e, m) for e, ms in MASKS.items() for m in ms])
def test_bfloat16_costs_less_than_a_percent(models, encoder, mask):
    model = models[encoder]
    given = given_to(model, mask)
    engine = InferenceEngine(copy.deepcopy(model), "bfloat16")
    given_back = actions(engine, given)
    assert given_back.dtype == torch.float32
    assert 0 < relative(given_back, actions(model, given)) < 0.01


def test_bfloat16_is_refused_where_it_would_be_emulated(models, monkeypatch):
    old = Processor("an old one", frozenset({"avx2", "avx512f", "avx512_vnni"}))
    monkeypatch.setattr(fast_linear, "read_processor", lambda: old)
    with pytest.raises(ValueError, match=r"is 'bfloat16', but this .* expected 'float32'"):
        InferenceEngine(copy.deepcopy(models["fourm"]), "bfloat16")


@pytest.mark.parametrize("solver", ["euler", "adams_bashforth"])
def test_steps_and_solver_are_passed_on(models, solver):
    model = models["fourm"]
    given, options = given_to(model), {"steps": 3, "solver": solver}
    engine = InferenceEngine(copy.deepcopy(model))
    assert relative(actions(engine, given, **options), actions(model, given, **options)) < 1e-5


class Count:
    """Counts the calls of a module."""

    def __init__(self, module: nn.Module) -> None:
        self.calls = 0
        module.register_forward_hook(self._called)

    def _called(self, *_) -> None:
        self.calls += 1


def test_a_camera_that_shows_the_same_is_encoded_once(models):
    model = copy.deepcopy(models["siglip"])
    engine, tower = InferenceEngine(model), Count(model.visual.tower)
    given = given_to(model)
    first = actions(engine, given)
    assert tower.calls == 2
    assert torch.equal(actions(engine, given), first)
    assert tower.calls == 2
    given["frames"] |= {NAMES[0]: given["frames"][NAMES[0]].clone()}
    assert torch.equal(actions(engine, given), first)
    assert tower.calls == 3


def test_streams_that_see_one_another_are_encoded_again_if_one_of_them_changes(models):
    model = copy.deepcopy(models["fourm"])
    engine, blocks = InferenceEngine(model), Count(model.visual.blocks)
    given = given_to(model)
    first = actions(engine, given)
    assert torch.equal(actions(engine, given), first) and blocks.calls == 1
    given["frames"] |= {"depth": given["frames"]["depth"] + 1.0}
    second = actions(engine, given)
    assert blocks.calls == 2 and relative(second, first) > 1e-4
    # Without the stream that changed, nothing that was encoded with it may be used.
    given["mask"][0, NAMES.index("depth")] = False
    assert relative(actions(engine, given), actions(models["fourm"], given)) < 1e-5
    assert blocks.calls == 3


def test_what_is_forgotten_is_encoded_again(models):
    model = copy.deepcopy(models["fourm"])
    engine, blocks = InferenceEngine(model), Count(model.visual.blocks)
    given = given_to(model)
    for _ in range(2):
        actions(engine, given)
        engine.forget()
    assert blocks.calls == 2


def test_a_lost_view_is_not_read_either(models):
    model = models["fourm"]
    given = given_to(model, [True] * 4 + [False] * 4)
    whole, compact = model.prefix(**given), InferenceEngine(copy.deepcopy(model)).prefix(**given)
    assert whole.mask.shape[1] - compact.mask.shape[1] == CONFIG.tokens_per_view
    assert compact.mask.all() and torch.equal(compact.end, whole.end)


def test_a_masked_stream_is_not_even_looked_at(models):
    model = models["fourm"]
    engine = InferenceEngine(copy.deepcopy(model))
    given = given_to(model, [True, False] * 4)
    expected = actions(engine, given)
    engine.forget()
    for name in NAMES[1::2]:
        given["frames"][name].fill_(torch.nan)
    assert torch.equal(actions(engine, given), expected)


def test_a_stream_without_a_frame_is_refused(models):
    engine = InferenceEngine(copy.deepcopy(models["fourm"]))
    given = given_to(models["fourm"])
    del given["frames"]["depth"]
    with pytest.raises(ValueError, match="stream 'depth' has no frame"):
        engine.prefix(**given)


@torch.inference_mode(False)
@torch.no_grad()
@pytest.mark.parametrize(
    ("precision", "tolerance"),
    [("float32", 1e-5), pytest.param("bfloat16", 0.02, marks=needs_bfloat16)],
)
def test_a_differentiable_engine_can_be_guided(precision, tolerance):
    model = make_model(CONFIG)
    given, previous = given_to(model), torch.zeros(1, 10, 6)

    def guide(velocity):
        return RealTimeChunking().guide(velocity, previous, delay=3)

    expected = actions(model, given, guide=guide)
    engine = InferenceEngine(copy.deepcopy(model), precision, differentiable=True)
    assert relative(actions(engine, given, guide=guide), expected) < tolerance
    assert relative(actions(engine, given), expected) > 1e-2


@pytest.mark.skipif(not is_available("float32"), reason="no packed operators here")
def test_no_linear_layer_is_left_and_none_is_there_twice(models):
    model = copy.deepcopy(models["fourm"])
    InferenceEngine(model)
    assert not [name for name, part in model.named_modules() if isinstance(part, nn.Linear)]
    # What is left are norms, embeddings and convolutions.
    left = sum(p.numel() for name, p in model.named_parameters() if p.dim() == 2)
    assert left == model.text.embed_tokens.weight.numel() + model.visual.view_embedding.numel()


@pytest.mark.parametrize("rows", [1, 7, 200])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("gelu", [True, False])
def test_fast_layers_are_linear_layers(rows, bias, gelu):
    torch.manual_seed(rows)
    linear, x = nn.Linear(48, 40, bias=bias), torch.randn(2, rows, 48)
    expected = linear(x)
    if gelu:
        expected = nn.functional.gelu(expected, approximate="tanh")
    for precision, tolerance in (("float32", 1e-6), ("int8", 0.02), ("bfloat16", 0.01)):
        if is_available(precision):
            fast = fast_linear.fast_linear(precision, linear, gelu=gelu)(x)
            assert fast.shape == expected.shape
            assert relative(fast, expected) < tolerance


@needs_int8
def test_a_layer_without_weights_stays_finite_in_int8():
    fast = Int8Linear(torch.zeros(4, 8), None)
    assert torch.equal(fast(torch.randn(3, 8)), torch.zeros(3, 4))


def test_an_unknown_precision_is_refused(models):
    with pytest.raises(ValueError, match="precision is 'int4'; expected one of float32, int8"):
        InferenceEngine(copy.deepcopy(models["fourm"]), "int4")
