"""Every command takes the same names of policies, with the options that a policy can use."""

import numpy as np
import pytest

from multismolvla.embodiment.so101 import SO101
from multismolvla.interfaces import ActionChunk
from multismolvla.sim.expert_policy import COMMITTED_S, ExpertPolicy
from multismolvla.stack.policy_loading import (
    committed_s,
    load_policy,
    parse_cameras,
    streams_of,
    with_digest,
    without_digest,
)
from multismolvla.streams import Stream, StreamTable

TABLE = StreamTable(
    tuple(
        Stream(name=name, kind=name, height=48, width=48, rate_hz=15.0, frame_id="camera")
        for name in ("rgb", "depth")
    )
)


class Plain:
    """Takes no option."""

    def infer(self, observation):
        return ActionChunk(observation.stamp_ns, 0.1, np.tile(SO101.home_rad, (2, 1)))

    def reset(self) -> None:
        pass


class Seeded(Plain):
    """Names two of the options; the third keeps its default."""

    streams = (TABLE["depth"],)

    def __init__(self, device: str, seed: int | None = 1, own: str = "own") -> None:
        self.options = (device, seed, own)


class Greedy(Plain):
    def __init__(self, **options) -> None:
        self.options = options


class Elsewhere(Plain):
    streams = (Stream("thermal", "thermal", 48, 48, 15.0, "camera"),)


def test_a_class_gets_the_options_that_its_constructor_names():
    assert load_policy(f"{__name__}:Seeded", SO101, device="cpu", seed=7).options == (
        "cpu",
        7,
        "own",
    )
    assert isinstance(load_policy(f"{__name__}:Plain", SO101, device="cpu", seed=7), Plain)


def test_a_class_that_takes_any_keyword_gets_all_options():
    options = load_policy(f"{__name__}:Greedy", SO101, noise_scale=0.5, chunking="rtc").options
    assert options["noise_scale"] == 0.5 and options["chunking"] == "rtc"


def test_the_expert_is_told_how_long_the_arm_goes_on():
    policy = load_policy("expert", SO101, committed_s=0.0)
    assert isinstance(policy, ExpertPolicy) and policy._committed_rows == 0
    assert committed_s(0.0) == COMMITTED_S
    assert committed_s(2.0) > 2.0
    assert committed_s(2.0, waits=True) == 0.0


def test_a_policy_looks_at_the_streams_that_it_names_or_at_all():
    assert streams_of(Plain(), TABLE, "plain") == TABLE.names
    assert streams_of(Seeded("cpu"), TABLE, "seeded") == ("depth",)
    assert streams_of(ExpertPolicy(), TABLE, "expert") == ()
    with pytest.raises(ValueError, match=r"^policy 'elsewhere' sees thermal, but"):
        streams_of(Elsewhere(), TABLE, "elsewhere")


def test_a_class_is_named_without_a_digest():
    name = f"{__name__}:Plain"
    assert with_digest(name) == name == without_digest(name)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("genius", "policy is 'genius', which no installed package offers; known: expert"),
        ("/no/such/folder", "policy is '/no/such/folder', which is not a folder"),
        ("no_such_module:Policy", "cannot be created: ModuleNotFoundError"),
        (f"{__name__}:Missing", "cannot be created: AttributeError"),
    ],
)
@pytest.mark.parametrize("use", [lambda name: load_policy(name, SO101), with_digest])
def test_a_policy_that_does_not_exist_is_one_clear_line(use, name, complaint):
    with pytest.raises(ValueError) as error:
        use(name)
    assert complaint in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "cameras"),
    [
        ("", {}),
        ("camera1=rgb", {"camera1": "rgb"}),
        (" camera1 = rgb, top=wrist/rgb,", {"camera1": "rgb", "top": "wrist/rgb"}),
    ],
)
def test_cameras_are_read_from_a_parameter(text, cameras):
    assert parse_cameras(text) == cameras
