"""The tree of sizes: what is saved comes back, and nothing but `ConfigError` comes of damage."""

import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multismolvla.embodiment.so101 import SO101
from multismolvla.policy.config import (
    FILE_NAME,
    GRIPPER_POSE,
    PRESETS,
    ConfigError,
    PolicyConfig,
    load_config,
)
from multismolvla.streams import Stream

CAMERAS = tuple(
    Stream(f"{view}rgb", "rgb", 96, 96, 15.0, "camera_optical_frame") for view in ("", "wrist/")
)
STREAMS = (
    *CAMERAS,
    Stream("depth", "depth", 96, 96, 15.0, "camera_optical_frame"),
    Stream("segmentation", "segmentation", 96, 96, 15.0, "camera_optical_frame", ("rgb", "depth")),
)


def make(preset: str) -> PolicyConfig:
    return PRESETS[preset](CAMERAS if preset == "smolvla" else STREAMS, SO101)


def write(folder, content) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / FILE_NAME).write_text(text)


@pytest.fixture
def content(tmp_path):
    """What `tiny` is saved as."""
    make("tiny").save(tmp_path)
    return json.loads((tmp_path / FILE_NAME).read_text())


@pytest.mark.parametrize("preset", PRESETS)
def test_what_is_saved_comes_back(tmp_path, preset):
    config = make(preset)
    config.save(tmp_path)
    assert load_config(tmp_path) == config


def test_changed_numbers_come_back_exactly(tmp_path):
    config = dataclasses.replace(
        make("small"),
        period_s=1 / 30,
        text=dataclasses.replace(make("small").text, rms_norm_eps=1.1e-6),
    )
    config.save(tmp_path)
    assert load_config(tmp_path) == config


def test_views_are_the_slots_of_the_encoder():
    assert make("small").views == ("", "wrist")
    assert make("smolvla").views == ("rgb", "wrist/rgb")


def edit(content, key, value):
    *parents, last = key.split(".")
    for name in parents:
        content = content[name]
    content[last] = value


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("encoder", "vit", "encoder is 'vit'; expected 'siglip' or 'fourm'"),
        ("encoder", "siglip", "siglip is None; expected the sizes of the siglip encoder"),
        ("fourm", 3, "fourm is 3; expected keys and values"),
        ("text.layers", "2", "text.layers is '2'; expected a whole number"),
        ("text.layers", 2.5, "text.layers is 2.5; expected a whole number"),
        ("text.layers", True, "text.layers is True; expected a whole number"),
        ("text.rope_base", None, "text.rope_base is None; expected a number"),
        ("text.kv_heads", 3, "text.kv_heads is 3; expected a divisor of the 4 heads"),
        ("text.depth", 3, "unknown key 'text.depth'"),
        ("fourm.patch_size", 7, "image_size is 32; expected whole patches"),
        ("fourm.fusion", "middle", "fourm.fusion is 'middle'; expected late or early"),
        ("view_tokens", False, "view_tokens is False; expected true if there are no objects"),
        ("view_tokens", 1, "view_tokens is 1; expected true or false"),
        ("streams", [], r"streams is \(\); expected at least one stream"),
        ("streams", {}, r"streams is {}; expected a list"),
        ("solver", "rk45", "solver is 'rk45'; expected one of euler, adams_bashforth"),
        ("chunk_size", 0, "chunk_size is 0; expected a positive number"),
        ("period_s", -0.1, "period_s is -0.1; expected a positive"),
        ("period_s", float("nan"), "period_s is nan; expected a positive"),
        ("max_state_dim", 5, "max_state_dim is 5; expected at least 6"),
        ("joints", "elbow", "joints is 'elbow'; expected a list"),
    ],
)
def test_a_wrong_value_is_one_line(tmp_path, content, key, value, said):
    edit(content, key, value)
    write(tmp_path, content)
    with pytest.raises(ConfigError, match=said) as refusal:
        load_config(tmp_path)
    assert str(tmp_path / FILE_NAME) in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "depth"}, "streams is .* expected different names"),
        ({"kind": "radar"}, "rgb: kind is 'radar'; expected rgb, depth"),
        ({"rate_hz": "15"}, r"streams\[0\]\.rate_hz is '15'; expected a number"),
        ({"colour": 1}, r"unknown key 'streams\[0\]\.colour'"),
    ],
)
def test_a_wrong_stream_is_named(tmp_path, content, change, said):
    content["streams"][0] |= change
    write(tmp_path, content)
    with pytest.raises(ConfigError, match=said):
        load_config(tmp_path)


def test_only_cameras_go_into_siglip():
    with pytest.raises(ConfigError, match=r"depth\.kind is 'depth'; expected 'rgb' with siglip"):
        PRESETS["smolvla"](STREAMS, SO101)


@pytest.mark.parametrize("key", ["chunk_size", "text.heads", "fourm"])
def test_a_missing_key_is_named(tmp_path, content, key):
    *parents, last = key.split(".")
    part = content
    for name in parents:
        part = part[name]
    del part[last]
    write(tmp_path, content)
    with pytest.raises(ConfigError, match=f"missing key '{key}'"):
        load_config(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\udcff", "[" * 100_000], ids=range(6))
def test_a_damaged_file_is_one_line(tmp_path, text):
    (tmp_path / FILE_NAME).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ConfigError, match=FILE_NAME) as refusal:
        load_config(tmp_path)
    assert "\n" not in str(refusal.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="cannot read it: No such file"):
        load_config(tmp_path)


def test_a_state_without_room_for_the_hand_is_refused_where_there_are_objects():
    told = dataclasses.replace(make("tiny"), objects=("red_cube",), view_tokens=False)
    assert told.max_state_dim == len(SO101) + GRIPPER_POSE
    with pytest.raises(ConfigError, match="max_state_dim is 17; expected 18 or more"):
        dataclasses.replace(told, max_state_dim=17)
    assert dataclasses.replace(make("tiny"), max_state_dim=17).max_state_dim == 17


def test_joints_of_another_arm_are_read_but_differ(tmp_path, content):
    content["joints"] = ["a", "b"]
    write(tmp_path, content)
    assert load_config(tmp_path).joints == ("a", "b") != SO101.joint_names


def leaves(content, path=()):
    """Path of every value in the tree, the branches included."""
    yield path
    if isinstance(content, dict):
        for key, value in content.items():
            yield from leaves(value, (*path, key))
    elif isinstance(content, list):
        for index, value in enumerate(content):
            yield from leaves(value, (*path, index))


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, -1, 10**400])
    | st.floats()
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_any_damage_to_a_value_is_a_config_error_or_harmless(tmp_path_factory, data):
    content = json.loads(json.dumps(dataclasses.asdict(make("tiny"))))
    path = data.draw(st.sampled_from(list(leaves(content))))
    value = data.draw(JSON_VALUES)
    if path:
        part = content
        for key in path[:-1]:
            part = part[key]
        part[path[-1]] = value
    else:
        content = value
    folder = tmp_path_factory.mktemp("config")
    write(folder, content)
    try:
        assert isinstance(load_config(folder), PolicyConfig)
    except ConfigError as error:
        assert "\n" not in str(error)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_damage_to_the_bytes_is_a_config_error_or_harmless(tmp_path_factory, data):
    text = json.dumps(dataclasses.asdict(make("tiny"))).encode()
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    folder = tmp_path_factory.mktemp("config")
    (folder / FILE_NAME).write_bytes(text[:start] + data.draw(st.binary(max_size=4)) + text[end:])
    try:
        assert isinstance(load_config(folder), PolicyConfig)
    except ConfigError as error:
        assert "\n" not in str(error)


def test_sizes_that_were_counted_from_a_strange_checkpoint_are_refused_too():
    config = PRESETS["tiny"](STREAMS, SO101)
    with pytest.raises(ConfigError, match=r"text\.kv_heads is 0; expected a divisor"):
        dataclasses.replace(config, text=dataclasses.replace(config.text, kv_heads=0))
