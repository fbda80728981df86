"""SmolVLA checkpoints of other people: nothing about statistics, units or cameras is guessed."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from lerobot_folder import (
    DEGREES,
    HIGH,
    LOW,
    MEAN,
    POST,
    PRE,
    Q01,
    Q10,
    Q90,
    Q99,
    STD,
    lerobot_folder,
    statistics,
)
from safetensors.torch import load_file, save_file

from multismolvla.embodiment import lerobot_units
from multismolvla.embodiment.panda import PANDA
from multismolvla.embodiment.so101 import SO101
from multismolvla.policy.config import SiglipConfig, TextConfig, tiny
from multismolvla.policy.lerobot_checkpoint import load_lerobot, save_lerobot
from multismolvla.policy.model import MultiSmolVLA
from multismolvla.policy.normalization import Normalizer
from multismolvla.streams import Stream

# In LeRobot's units, somewhere within the data.
STATE = np.array([10.0, -20.0, 30.0, 5.0, -12.0, 55.0])
ACTION = np.array([0.3, -0.5, 0.9, -1.1, 0.1, 0.7])


def in_radians(values, units=None):
    scale, offset = units or lerobot_units.to_radians(SO101)
    return np.asarray(values) * scale + offset


def normalizer(folder, **options):
    return load_lerobot(folder, SO101, **options)[1]


def refused(folder, *words, **options):
    with pytest.raises(ValueError) as raised:
        load_lerobot(folder, SO101, **options)
    text = str(raised.value)
    assert "\n" not in text
    for word in words:
        assert word in text, text
    return text


def check(normalizer, state, action, units=None):
    """The normaliser gives LeRobot's numbers: `state` for STATE, `action` (degrees) for ACTION."""
    found = normalizer.normalize_state(torch.from_numpy(in_radians(STATE, units)))[:6]
    np.testing.assert_allclose(found, state, rtol=1e-5, atol=1e-5)
    radians = normalizer.unnormalize_action(torch.tensor(ACTION, dtype=torch.float32))
    np.testing.assert_allclose(radians, in_radians(action, units), rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------------------- modes


def low_high(low, high):
    """What LeRobot 0.4.4 computes (`_apply_transform` of its normalize_processor.py)."""
    low, high = np.array(low), np.array(high)
    return 2 * (STATE - low) / (high - low) - 1, (ACTION + 1) / 2 * (high - low) + low


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("MEAN_STD", ((STATE - MEAN) / STD, ACTION * STD + MEAN)),
        ("MIN_MAX", low_high(LOW, HIGH)),
        ("QUANTILES", low_high(Q01, Q99)),
        ("QUANTILE10", low_high(Q10, Q90)),
        ("IDENTITY", (STATE, ACTION)),
    ],
)
def test_every_mode_is_applied_as_lerobot_does(tmp_path, mode, expected):
    check(normalizer(lerobot_folder(tmp_path / "c", mode)), *expected)


@pytest.mark.parametrize(
    ("mode", "kind"), [("MEAN_STD", "std"), ("MIN_MAX", "max"), ("QUANTILES", "q01")]
)
def test_a_mode_without_its_statistics_is_refused(tmp_path, mode, kind):
    rest = {name: values for name, values in DEGREES.items() if name != kind}
    folder = lerobot_folder(tmp_path / "c", mode, statistics(both=rest))
    refused(folder, f"observation.state.{kind} is missing; {mode} needs it")


def test_an_unknown_mode_is_refused(tmp_path):
    refused(lerobot_folder(tmp_path / "c", "Z_SCORE"), "'Z_SCORE'", "expected MEAN_STD, MIN_MAX")


def test_two_files_that_name_different_modes_are_refused(tmp_path):
    folder = lerobot_folder(tmp_path / "c", "MIN_MAX")
    path = folder / "config.json"
    path.write_text(path.read_text().replace("MIN_MAX", "MEAN_STD"))
    refused(folder, "normalization_mapping.STATE is 'MEAN_STD'", "says 'MIN_MAX'")


def test_normalised_images_are_refused(tmp_path):
    mapping = {"VISUAL": "MEAN_STD", "STATE": "MEAN_STD", "ACTION": "MEAN_STD"}
    folder = lerobot_folder(tmp_path / "c", config={"normalization_mapping": mapping})
    refused(folder, "normalization_mapping.VISUAL is 'MEAN_STD'; expected 'IDENTITY'")


@pytest.mark.parametrize(("mode", "known"), [("MEAN_STD", 0.0), ("MIN_MAX", -1.0)])
def test_a_joint_that_never_moved_is_what_the_model_knows_it_as(tmp_path, mode, known):
    still = {name: list(values) for name, values in DEGREES.items()}
    for name in ("mean", "min", "max"):
        still[name][4] = 7.0
    still["std"][4] = 0.0
    found = normalizer(lerobot_folder(tmp_path / "c", mode, statistics(both=still)))
    for measured in (7.0, 7.2, 60.0):
        state = STATE.copy()
        state[4] = measured
        value = found.normalize_state(torch.from_numpy(in_radians(state)))[4]
        assert value == pytest.approx(known, abs=1e-6)
    action = found.unnormalize_action(torch.tensor(ACTION, dtype=torch.float32))
    assert action[4] == pytest.approx(math.radians(7.0))


# ---------------------------------------------------------------------------- which statistics


@pytest.mark.parametrize("prefix", ["so100.buffer.", "my-set.", "a.b_c.buffer."])
def test_statistics_under_one_data_sets_name_are_understood(tmp_path, prefix):
    folder = lerobot_folder(tmp_path / "c", tensors=statistics(prefix))
    check(normalizer(folder), (STATE - MEAN) / STD, ACTION * STD + MEAN)


def test_those_of_several_data_sets_have_to_be_chosen_from(tmp_path):
    other = {name: [value / 2 for value in values] for name, values in DEGREES.items()}
    tensors = statistics("so100.buffer.") | statistics("so100-red.buffer.", other)
    folder = lerobot_folder(tmp_path / "c", tensors=tensors)
    refused(folder, "'so100', 'so100-red'", "policy_statistics")
    refused(folder, "'so100', 'so100-red'; none of 'so101'", statistics="so101")
    check(normalizer(folder, statistics="so100"), (STATE - MEAN) / STD, ACTION * STD + MEAN)
    half = normalizer(folder, statistics="so100-red", units="degrees")
    check(half, (STATE - np.array(MEAN) / 2) / (np.array(STD) / 2), (ACTION * STD + MEAN) / 2)


def test_a_base_model_without_statistics_of_states_is_refused(tmp_path):
    tensors = {n: t for n, t in statistics("so100.buffer.").items() if "state" not in n}
    refused(lerobot_folder(tmp_path / "c", tensors=tensors), "observation.state has no statistics")


def test_no_statistics_are_refused_unless_the_mapping_needs_none(tmp_path):
    folder = lerobot_folder(tmp_path / "c")
    for name in (PRE, POST):
        (folder / name).unlink()
    refused(folder, PRE, "not in the folder")
    for name in ("policy_preprocessor.json", "policy_postprocessor.json"):
        (folder / name).unlink()
    refused(folder, "observation.state has no statistics, and its mode is MEAN_STD")
    path = folder / "config.json"
    path.write_text(path.read_text().replace("MEAN_STD", "IDENTITY"))
    # Then nothing says the unit.
    refused(folder, "what unit its joints have", "policy_units")
    check(normalizer(folder, units="degrees"), STATE, ACTION)
    found = normalizer(folder, units="radians")
    state = torch.from_numpy(STATE)
    torch.testing.assert_close(found.normalize_state(state)[:6], state.float())


@pytest.mark.parametrize("start", ["normalize_inputs.", "normalize_inputs.so100_"])
def test_statistics_among_the_weights_are_read(tmp_path, start):
    folder = lerobot_folder(tmp_path / "c")
    for name in ("policy_preprocessor.json", "policy_postprocessor.json"):
        (folder / name).unlink()
    tensors = load_file(folder / "model.safetensors")
    for kind in ("mean", "std"):
        values = torch.tensor(DEGREES[kind])
        tensors[f"{start}buffer_observation_state.{kind}"] = values
        other = start.replace("normalize_inputs", "unnormalize_outputs")
        tensors[f"{other}buffer_action.{kind}"] = values.clone()
    save_file(tensors, folder / "model.safetensors")
    found = normalizer(folder, units="degrees")
    check(found, (STATE - MEAN) / STD, ACTION * STD + MEAN)


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("action.mean", [math.inf] * 6, "expected finite numbers"),
        ("action.std", [-1.0] * 6, "expected no negative number"),
        ("observation.state.mean", [0.0] * 7, "has shape [7]; expected 6 numbers"),
        ("action.std", [[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]], "has shape [2, 3]"),
    ],
)
def test_damaged_statistics_are_refused(tmp_path, name, values, words):
    tensors = statistics() | {name: torch.tensor(values)}
    refused(lerobot_folder(tmp_path / "c", tensors=tensors), name, words)


def test_statistics_may_come_with_an_axis_of_one(tmp_path):
    tensors = {name: tensor[None] for name, tensor in statistics().items()}
    found = normalizer(lerobot_folder(tmp_path / "c", tensors=tensors))
    check(found, (STATE - MEAN) / STD, ACTION * STD + MEAN)


# ---------------------------------------------------------------------------- units

OLD = {
    "mean": [0.0, -20.0, 30.0, 10.0, 0.0, 30.0],
    "std": [60.0] * 6,
    "min": [-100.0] * 5 + [0.0],
    "max": [100.0] * 6,
}


def test_minus_100_to_100_is_asked_for(tmp_path):
    folder = lerobot_folder(tmp_path / "c", tensors=statistics(both=OLD))
    refused(folder, "reaches exactly 100", "policy_units", "normalized", "policy_calibration")


def test_minus_100_to_100_is_converted_with_the_calibration(tmp_path):
    folder = lerobot_folder(tmp_path / "c", tensors=statistics(both=OLD))
    refused(folder, "expected a calibration", units="normalized")
    travel = np.array([3.8, 3.4, 3.3, 3.2, 6.0, 2.0])
    units = lerobot_units.normalized_to_radians(SO101, travel)
    found = normalizer(folder, units="normalized", travel_rad=travel)
    mean, std = np.array(OLD["mean"]), np.array(OLD["std"])
    check(found, (STATE - mean) / std, ACTION * std + mean, units)


def test_mean_and_deviation_alone_prove_degrees_only_where_they_must_pass_100(tmp_path):
    some = {"mean": [90.0] * 6, "std": [45.0] * 6}
    check(
        normalizer(lerobot_folder(tmp_path / "a", tensors=statistics(both=some))),
        (STATE - 90) / 45,
        ACTION * 45 + 90,
    )
    less = {"mean": [0.0] * 6, "std": [45.0] * 6}
    refused(lerobot_folder(tmp_path / "b", tensors=statistics(both=less)), "policy_units")


@pytest.mark.parametrize(
    ("units", "words"),
    [("radians", "shoulder_pan reaches 104"), ("normalized", "shoulder_pan reaches 104")],
)
def test_a_unit_that_cannot_be_is_refused(tmp_path, units, words):
    folder = lerobot_folder(tmp_path / "c")
    refused(folder, f"is not in {units}", words, units=units, travel_rad=np.full(6, 3.0))


def test_ticks_and_other_zeros_are_refused(tmp_path):
    far = {**DEGREES, "max": [180.0] * 6}
    refused(lerobot_folder(tmp_path / "c", tensors=statistics(both=far)), "beyond its 110 degrees")


# ---------------------------------------------------------------------------- config.json


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("add_image_special_tokens", True),
        ("n_obs_steps", 2),
        ("adapt_to_pi_aloha", True),
        ("use_delta_joint_actions_aloha", True),
        ("attention_mode", "self_attn"),
        ("num_expert_layers", 2),
        ("num_vlm_layers", 16),
        ("vlm_model_name", "someone/OtherVLM"),
        ("chunk_size", "50"),
        ("chunk_size", None),
        ("num_steps", 0),
        ("num_steps", True),
        ("n_action_steps", 11),
        ("max_state_dim", 5.5),
        ("min_period", "small"),
        ("empty_cameras", -1),
        ("input_features", None),
        ("input_features", {}),
        ("output_features", {"action": {"type": "ACTION", "shape": "6"}}),
        ("normalization_mapping", None),
        ("resize_imgs_with_padding", [64, 48]),
        ("resize_imgs_with_padding", 64),
        ("resize_imgs_with_padding", [128, 128]),
        ("a_key_of_the_future", 3),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(tmp_path, key, value):
    folder = lerobot_folder(tmp_path / "c", config={key: value})
    if key == "vlm_model_name":
        (folder / "vlm_config.json").unlink()
    refused(folder, "config.json: ", key)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("prefix_length", 64),
        ("pad_language_to", "max_length"),
        ("use_peft", True),
        ("compile_model", True),
        ("pretrained_revision", "main"),
        ("resize_imgs_with_padding", None),
        ("a_key_of_the_future", None),
    ],
)
def test_what_changes_no_action_is_read(tmp_path, key, value):
    model, _ = load_lerobot(lerobot_folder(tmp_path / "c", config={key: value}), SO101)
    assert [stream.name for stream in model.config.streams] == ["camera1/rgb", "camera2/rgb"]
    assert model.config.streams[0].height == 64


def test_images_that_are_not_resized_must_fit_the_encoder(tmp_path):
    features = json.loads((lerobot_folder(tmp_path / "a") / "config.json").read_text())
    features = features["input_features"]
    features["observation.images.camera2"]["shape"] = [3, 480, 640]
    config = {"resize_imgs_with_padding": None, "input_features": features}
    folder = lerobot_folder(tmp_path / "b", config=config)
    refused(folder, "resize_imgs_with_padding is null", "camera2 is 480 x 640; expected 64 x 64")


def test_an_empty_camera_takes_no_place(tmp_path):
    config = json.loads((lerobot_folder(tmp_path / "a") / "config.json").read_text())
    features = config["input_features"]
    features["observation.images.empty_camera_0"] = {"type": "VISUAL", "shape": [3, 480, 640]}
    changed = {"empty_cameras": 1, "input_features": features}
    model, _ = load_lerobot(lerobot_folder(tmp_path / "b", config=changed), SO101)
    assert [stream.name for stream in model.config.streams] == ["camera1/rgb", "camera2/rgb"]


def test_a_camera_that_was_in_no_data_takes_no_place(tmp_path):
    images = {"observation.images.camera2.mean": [[[0.4]], [[0.4]], [[0.4]]]}
    folder = lerobot_folder(tmp_path / "c", tensors=statistics(**images))
    model, _ = load_lerobot(folder, SO101)
    assert [stream.name for stream in model.config.streams] == ["camera2/rgb"]


# ---------------------------------------------------------------------------- pipelines


def test_renamed_cameras_answer_to_both_names(tmp_path):
    renames = {"observation.images.front": "observation.images.camera1"}
    folder = lerobot_folder(tmp_path / "c", renames=renames)
    for cameras in ({"front": "rgb"}, {"camera1": "rgb"}):
        model, _ = load_lerobot(folder, SO101, cameras=cameras)
        assert [stream.name for stream in model.config.streams] == ["rgb", "camera2/rgb"]
    model, _ = load_lerobot(folder, SO101)
    assert model.config.streams[0].name == "front/rgb"
    refused(folder, "there is no camera 'top'; it has front, camera2", cameras={"top": "rgb"})


@pytest.mark.parametrize(
    ("renames", "words"),
    [
        ({"observation.images.a": "observation.images.b"}, "renames a camera to 'b'"),
        ({"observation.images.a": "action"}, "is 'action'; expected cameras"),
        (
            {
                "observation.images.a": "observation.images.camera1",
                "observation.images.b": "observation.images.camera1",
            },
            "to two features",
        ),
    ],
)
def test_renames_that_lead_nowhere_are_refused(tmp_path, renames, words):
    refused(lerobot_folder(tmp_path / "c", renames=renames), "rename_map", words)


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({"registry_name": "xvla_image_scale", "config": {}}, "is 'xvla_image_scale'"),
        ({"class": "mine.Step", "config": {}}, "is 'mine.Step'"),
        ({"config": {}}, "is 'None'"),
        ({"registry_name": ["normalizer_processor"]}, "is '['normalizer_processor']'"),
        ("text", "expected keys and values"),
        (
            {"registry_name": "relative_actions_processor", "config": {"enabled": True}},
            "enabled is true; expected false",
        ),
        (
            {"registry_name": "device_processor", "config": {"float_dtype": "float16"}},
            "float_dtype is 'float16'",
        ),
    ],
)
def test_an_unknown_step_is_refused_by_name(tmp_path, step, words):
    refused(
        lerobot_folder(tmp_path / "c", steps=[step]), "policy_preprocessor.json: steps[0]", words
    )


def test_steps_of_later_versions_that_do_nothing_are_read(tmp_path):
    step = {"registry_name": "relative_actions_processor", "config": {"enabled": False}}
    check(
        normalizer(lerobot_folder(tmp_path / "c", steps=[step])),
        (STATE - MEAN) / STD,
        ACTION * STD + MEAN,
    )


def test_a_state_that_is_left_out_of_the_normalising_step_passes_through(tmp_path):
    folder = lerobot_folder(tmp_path / "c")
    path = folder / "policy_preprocessor.json"
    content = json.loads(path.read_text())
    content["steps"][-1]["config"]["normalize_observation_keys"] = ["observation.images.camera1"]
    path.write_text(json.dumps(content))
    check(normalizer(folder), STATE, ACTION * STD + MEAN)


@pytest.mark.parametrize("content", [{"text_config": []}, {"text_config": {"head_dim": 0}}])
def test_a_damaged_configuration_of_the_language_model_is_one_line(tmp_path, content):
    folder = lerobot_folder(tmp_path / "c")
    (folder / "vlm_config.json").write_text(json.dumps(content))
    refused(folder, "vlm_config.json: text_config.head_dim")


PROJECTION = "model.vlm_with_expert.lm_expert.layers.0.self_attn.q_proj"
LORA = {"peft_type": "LORA", "r": 2, "lora_alpha": 6, "base_model_name_or_path": "../base"}


def adapter_folder(tmp_path, **changes):
    """As LeRobot saves a policy fine-tuned with PEFT: two factors, and a module saved whole."""
    base = lerobot_folder(tmp_path / "base")
    folder = lerobot_folder(tmp_path / "c", config={"use_peft": True})
    (folder / "model.safetensors").unlink()
    weight = load_file(base / "model.safetensors")[f"{PROJECTION}.weight"]
    generator = torch.Generator().manual_seed(0)
    down = torch.randn(2, weight.shape[1], generator=generator)
    up = torch.randn(weight.shape[0], 2, generator=generator)
    bias = torch.full((96,), 0.25)
    save_file(
        {
            f"base_model.model.{PROJECTION}.lora_A.weight": down,
            f"base_model.model.{PROJECTION}.lora_B.weight": up,
            "base_model.model.model.state_proj.bias": bias,
        },
        folder / "adapter_model.safetensors",
    )
    (folder / "adapter_config.json").write_text(json.dumps(LORA | changes))
    return folder, weight.float(), up @ down


@pytest.mark.parametrize(("changes", "scale"), [({}, 3.0), ({"use_rslora": True}, 6 / 2**0.5)])
def test_an_adapter_is_merged_into_the_policy_that_it_names(tmp_path, changes, scale):
    folder, weight, change = adapter_folder(tmp_path, **changes)
    model, _ = load_lerobot(folder, SO101)
    found = model.state_dict()
    torch.testing.assert_close(
        found["expert.layers.0.self_attn.q_proj.weight"], weight + scale * change
    )
    assert (found["state_proj.bias"] == 0.25).all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"peft_type": "IA3"}, "peft_type is 'IA3'; expected 'LORA'; merge it in LeRobot"),
        ({"use_dora": True}, "use_dora is True"),
        ({"rank_pattern": {"q_proj": 4}}, "rank_pattern"),
        ({"layer_replication": [[0, 2]]}, "layer_replication"),
        ({"r": 0}, "r is 0"),
        ({"base_model_name_or_path": None}, "base_model_name_or_path is None"),
        ({"base_model_name_or_path": "/nowhere/x"}, "base_model_name_or_path: /nowhere/x: no such"),
    ],
)
def test_an_adapter_that_cannot_be_merged_is_refused(tmp_path, changes, words):
    refused(adapter_folder(tmp_path, **changes)[0], "adapter_config.json: ", words)


def test_an_adapter_of_another_policy_is_refused(tmp_path):
    folder, _, _ = adapter_folder(tmp_path)
    tensors = {"base_model.model.model.other.lora_A.weight": torch.zeros(2, 4)}
    save_file(tensors, folder / "adapter_model.safetensors")
    refused(folder, "adapter_model.safetensors: changes 'model.other.lora_A.weight'")


def test_training_takes_weights_alone(tmp_path):
    folder = lerobot_folder(tmp_path / "c", tensors=statistics("a.") | statistics("b."))
    model, _ = load_lerobot(folder, SO101, weights_only=True)
    assert model.config.chunk_size == 10


def test_an_arm_of_steps_has_its_own_rate_and_names_of_cameras(tmp_path):
    rate_hz = 1.0 / PANDA.action_space.period_s
    streams = [Stream(f"{c}/rgb", "rgb", 32, 32, rate_hz, "camera") for c in ("image", "image2")]
    config = dataclasses.replace(
        tiny(tuple(streams), PANDA),
        encoder="siglip",
        fourm=None,
        # Heads as where no file tells their number.
        text=TextConfig(128, 2, 2, 1, 64, 128, 512),
        siglip=SiglipConfig(96, 2, 12, 64, image_size=32, patch_size=8, shuffle=2),
        tokens_per_view=4,
    )
    states, actions = len(config.joints), len(config.action_names)
    known = Normalizer(
        config,
        state_mean=torch.zeros(states),
        state_std=torch.ones(states),
        action_mean=torch.zeros(actions),
        action_std=torch.full((actions,), 0.3),
    )
    save_lerobot(tmp_path, MultiSmolVLA(config, PANDA.kinematics), known)
    model, normalizer = load_lerobot(tmp_path, PANDA)
    assert [stream.name for stream in model.config.streams] == ["agentview/rgb", "wrist/rgb"]
    assert model.config.period_s == pytest.approx(0.05)
    assert model.config.action_names == PANDA.action_names
    torch.testing.assert_close(normalizer.action_std[:actions], known.action_std[:actions])
    model, _ = load_lerobot(tmp_path, PANDA, cameras={"image2": "agentview/rgb", "image": "other"})
    assert [stream.name for stream in model.config.streams] == ["other", "agentview/rgb"]
