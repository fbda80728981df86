"""Every reader of what others write, with a sound example of its input and the errors it documents.

A reader that is new gets a line in `TARGETS`. Each is called as the commands and the nodes call it.
"""

from __future__ import annotations

import functools
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import yaml
from fuzz_damage import odd_bytes
from fuzz_target import Target, copied, files
from hypothesis import strategies as st

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config"
# Where sound examples are made.
sys.path += [str(ROOT / "tests" / folder) for folder in ("", "embodiment", "policy")]


# Settings, tables and other YAML ------------------------------------------------------------------


def _streams(folder: Path) -> object:
    from multismolvla.streams import load_stream_table

    return load_stream_table(folder / "streams.yaml")


def _streams_error() -> tuple[type, ...]:
    from multismolvla.streams import StreamTableError

    return (StreamTableError,)


def _scenario(folder: Path) -> object:
    from multismolvla.faults.scenario_file import load_scenario
    from multismolvla.sim.tasks import find_task

    return load_scenario(folder / "rgb_loss.yaml", _table(), find_task)


@functools.cache
def _table():
    from multismolvla.streams import load_stream_table

    return load_stream_table(CONFIG / "streams.yaml")


def _scenario_error() -> tuple[type, ...]:
    from multismolvla.faults.scenario_file import ScenarioError

    return (ScenarioError,)


def _recipe(folder: Path) -> object:
    from multismolvla.training.policy.recipe_file import load_recipe

    return load_recipe(folder / "small.yaml")


def _recipe_error() -> tuple[type, ...]:
    from multismolvla.training.policy.recipe import RecipeError

    return (RecipeError,)


def _embodiment(folder: Path) -> object:
    from multismolvla.embodiment.embodiment_file import load_embodiment

    return load_embodiment(folder / "arm.yaml")


def _embodiment_sample(folder: Path) -> None:
    from seven_joints import described

    (folder / "arm.yaml").write_text(yaml.safe_dump(described()))


def _embodiment_error() -> tuple[type, ...]:
    from multismolvla.embodiment.description import EmbodimentError

    return (EmbodimentError,)


def _settings(folder: Path) -> object:
    from multismolvla.stack.settings import load_settings

    return load_settings(folder)


def _settings_sample(folder: Path) -> None:
    for name in ("rgb_node", "depth_node", "segmentation_node", "policy_node", "so101_driver"):
        shutil.copy(CONFIG / f"{name}.yaml", folder / f"{name}.yaml")


def _urdf(folder: Path) -> object:
    from multismolvla.monitoring.urdf import load_urdf

    return load_urdf(folder / "so101.urdf")


def _urdf_error() -> tuple[type, ...]:
    from multismolvla.monitoring.urdf import UrdfError

    return (UrdfError,)


# The arm ------------------------------------------------------------------------------------------


def _calibration(folder: Path) -> object:
    from multismolvla.robot.calibration import load_calibration

    return load_calibration(folder / "so101_sim_calibration.json")


def _calibration_error() -> tuple[type, ...]:
    from multismolvla.robot.calibration import CalibrationError

    return (CalibrationError,)


def _packet_inputs() -> st.SearchStrategy:
    from multismolvla.robot import protocol

    asked = protocol.encode(protocol.sync_read_request([1, 2, 6], 56, 8))
    answer = protocol.encode(protocol.Packet(5, 0, bytes(range(8))))
    sound = st.sampled_from([asked, answer, answer * 3, b"\xff" * 40])
    one = sound.flatmap(odd_bytes) | st.binary(max_size=80)
    return st.lists(one, min_size=1, max_size=4)


def _packets(parts: list[bytes], _: Path) -> object:
    from multismolvla.robot.protocol import PacketParser

    for expected in (None, 8):
        parser = PacketParser(expected)
        for part in parts:
            parser.feed(part)
        # Whatever came before, a whole packet is found within the longest packet behind it.
        assert parser.pending <= 260, f"{parser.pending} bytes wait for the rest of a packet"
    return None


# Messages -----------------------------------------------------------------------------------------

ENCODINGS = ("rgb8", "bgr8", "rgba8", "mono8", "mono16", "16UC1", "32FC1", "8UC1", "8UC3", "nv12")
ENCODINGS += ("yuv422", "yuv422_yuy2", "bayer_rggb8", "64FC1", "32SC1", "8UC512", "8UC513", "")
_sizes = st.integers(0, 9) | st.sampled_from([2**16, 2**31, 2**32 - 1])
# Kind -> encoding and bytes of a pixel of a sound image.
IMAGES = {"rgb": ("rgb8", 3), "depth": ("16UC1", 2), "thermal": ("32FC1", 4)}
IMAGES["segmentation"] = ("mono8", 1)


@st.composite
def _images(draw) -> tuple:
    """A kind, and an image of it, 4 x 3, of which up to three fields are others."""
    kind = draw(st.sampled_from(sorted(IMAGES)))
    encoding, pixel = IMAGES[kind]
    others = {
        "width": _sizes,
        "height": _sizes,
        "step": _sizes | st.integers(0, 40),
        "encoding": st.sampled_from(ENCODINGS) | st.text(max_size=8),
        "is_bigendian": st.sampled_from([1, 255]),
        "data": st.binary(max_size=400),
    }
    fields = {"width": 4, "height": 3, "step": 4 * pixel, "encoding": encoding, "is_bigendian": 0}
    fields["data"] = bytes(range(1, 1 + 12 * pixel)) if kind != "segmentation" else bytes(12)
    for name in draw(st.lists(st.sampled_from(sorted(others)), max_size=3, unique=True)):
        fields[name] = draw(others[name])
    data = np.frombuffer(fields.pop("data"), np.uint8)
    return kind, SimpleNamespace(header=_HEADER, data=data, **fields)


_HEADER = SimpleNamespace(stamp=SimpleNamespace(sec=1, nanosec=2), frame_id="camera")


def _image_inputs() -> st.SearchStrategy:
    formats = st.sampled_from(["jpeg", "png", "rgb8; jpeg compressed bgr8", "", "h264"])
    formats |= st.sampled_from(["16UC1; compressedDepth png", "32FC1; compressedDepth png"])
    compressed = st.builds(
        SimpleNamespace,
        header=st.just(_HEADER),
        format=formats | st.text(max_size=8),
        data=_pictures().map(lambda data: np.frombuffer(data, np.uint8)),
    )
    return _images() | st.tuples(st.sampled_from(sorted(IMAGES)), compressed)


def _pictures() -> st.SearchStrategy[bytes]:
    import cv2

    colours = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    depth = np.arange(64, dtype=np.uint16).reshape(8, 8)
    sound = [cv2.imencode(".png", depth)[1], cv2.imencode(".jpg", colours)[1]]
    kinds = [bytes(12) + sound[0].tobytes(), *(picture.tobytes() for picture in sound)]
    return st.sampled_from(kinds).flatmap(lambda data: st.just(data) | odd_bytes(data))


def _image(given: tuple, _: Path) -> object:
    from multismolvla.modalities.conversion import to_units
    from multismolvla.modalities.registry import find_modality

    kind, message = given
    modality = find_modality(kind)
    frame = to_units(modality, _decode(modality, message))
    assert frame.dtype == modality.dtype and frame.size
    return frame


def _decode(modality, message):
    from multismolvla.modalities.camera_image import raw_frame

    return raw_frame(modality, message)


def _status_inputs() -> st.SearchStrategy:
    sound = {"state": "OK", "reason": "", "rate_hz": "15.0", "age_s": "0.01", "frames": "9"}
    texts = st.text(max_size=5) | st.sampled_from(["nan", "1e999", "-1", "LOST", "9" * 5000, "٣"])
    return st.dictionaries(st.sampled_from([*sound, "lag_ms", "x"]), texts).map(sound.__or__)


def _status(values: dict, _: Path) -> object:
    from multismolvla.sensing.reported_health import parse_status

    return parse_status(values)


# Recordings, data sets, checkpoints ---------------------------------------------------------------


def _bag_sample(folder: Path) -> None:
    import made_up_recording as made_up

    from multismolvla.data import bag_messages as messages

    told = made_up.info({"task": "wave"}, **{"/policy_node": {"task": "wave"}})
    entries = made_up.arm(lasts_ms=300)
    entries += made_up.camera("/rgb/image_raw", "rgb", count=6)
    entries += made_up.camera("/depth/image_raw", "depth", count=6, encode=made_up.png)
    entries.append((0.0, "/recording_info", messages.STRING, told))
    made_up.write_recording(folder / "bag", entries, chunk=20)


def _bag(folder: Path) -> object:
    from multismolvla.data.recording import open_recording
    from multismolvla.embodiment.so101 import SO101

    recording = open_recording(folder / "bag", _table(), SO101)
    return sum(1 for _ in recording.events(commands=True))


def _bag_without_metadata(folder: Path) -> object:
    (folder / "bag" / "metadata.yaml").unlink(missing_ok=True)
    return _bag(folder)


def _robot_bag(folder: Path) -> object:
    from multismolvla.embodiment.so101 import SO101
    from multismolvla.training.dataset.robot_bag import read_robot_bag

    return read_robot_bag(folder / "bag", _table(), SO101)


def _bag_error() -> tuple[type, ...]:
    from multismolvla.data.recorded_bag import BagError

    return (BagError,)


def _episode_error() -> tuple[type, ...]:
    from multismolvla.data.episode import EpisodeError

    return (EpisodeError,)


def _episode_sample(folder: Path) -> None:
    from made_up_episode import made_up_episode

    from multismolvla.data.bag import write_episode

    write_episode(folder / "episode", made_up_episode())


def _episode(folder: Path) -> object:
    from multismolvla.data.bag import read_episode

    return read_episode(folder / "episode")


def _lerobot_sample(folder: Path) -> None:
    from made_up_episode import STREAMS, made_up_episode

    from multismolvla.data.lerobot_writer import LeRobotWriter
    from multismolvla.embodiment.so101 import SO101

    shapes = {name: (6, 8, 3) if name.endswith("rgb") else (6, 8) for name in STREAMS}
    with LeRobotWriter(folder / "set", SO101, shapes, ("cube", "brick")) as writer:
        for seed in range(2):
            writer.add(made_up_episode(seed))


def _lerobot(folder: Path) -> object:
    from multismolvla.data.lerobot_reader import LeRobotReader
    from multismolvla.embodiment.so101 import SO101

    reader = LeRobotReader(folder / "set", SO101)
    return [reader.read(number) for number in range(min(len(reader), 3))]


def _lerobot_of_others(folder: Path) -> None:
    from made_up_lerobot import make_set

    make_set(folder / "set", episodes=2)


def _lerobot_with_cameras(folder: Path) -> object:
    from multismolvla.data.lerobot_reader import LeRobotReader
    from multismolvla.embodiment.so101 import SO101

    reader = LeRobotReader(folder / "set", SO101, {"front": "rgb"})
    return [reader.read(number) for number in range(min(len(reader), 3))]


def _lerobot_check(folder: Path) -> object:
    from multismolvla.data.lerobot_check import check_set
    from multismolvla.data.lerobot_set import NOTHING
    from multismolvla.embodiment.so101 import SO101

    return [str(finding) for finding in check_set(folder / "set", SO101, NOTHING)[1]]


def _smolvla_sample(folder: Path) -> None:
    source = ROOT / "tests" / "golden" / "smolvla_tiny"
    for name in ("config.json", "vlm_config.json", "model.safetensors"):
        shutil.copy(source / name, folder / name)


def _smolvla(folder: Path) -> object:
    from multismolvla.embodiment.so101 import SO101
    from multismolvla.policy.lerobot_checkpoint import load_lerobot

    return load_lerobot(folder, SO101, units="degrees")


def _smolvla_error() -> tuple[type, ...]:
    from multismolvla.policy.lerobot_checkpoint import LeRobotCheckpointError

    return (LeRobotCheckpointError,)


def _checkpoint_sample(folder: Path) -> None:
    import test_checkpoint

    test_checkpoint.save(folder / "checkpoint")


def _checkpoint(folder: Path) -> object:
    from multismolvla.embodiment.so101 import SO101
    from multismolvla.policy.checkpoint import load_checkpoint

    return load_checkpoint(folder / "checkpoint", SO101)


def _checkpoint_error() -> tuple[type, ...]:
    from multismolvla.policy.checkpoint import CheckpointError

    return (CheckpointError,)


def _value_error() -> tuple[type, ...]:
    return (ValueError,)


TARGETS: dict[str, Target] = {
    "streams": files(copied(CONFIG / "streams.yaml"), _streams, _streams_error),
    "scenario": files(copied(CONFIG / "faults" / "rgb_loss.yaml"), _scenario, _scenario_error),
    "recipe": files(copied(CONFIG / "training" / "small.yaml"), _recipe, _recipe_error),
    "embodiment": files(_embodiment_sample, _embodiment, _embodiment_error),
    "settings": files(_settings_sample, _settings, _value_error),
    "urdf": files(copied(ROOT / "urdf" / "so101.urdf"), _urdf, _urdf_error),
    "calibration": files(
        copied(CONFIG / "so101_sim_calibration.json"), _calibration, _calibration_error
    ),
    "packets": Target(_packet_inputs, _packets, tuple),
    "images": Target(_image_inputs, _image, _value_error),
    "statuses": Target(_status_inputs, _status, _value_error),
    "bag": files(_bag_sample, _bag, _bag_error),
    "mcap": files(_bag_sample, _bag_without_metadata, _bag_error),
    "robot_bag": files(_bag_sample, _robot_bag, _episode_error, quick=False),
    "episode": files(_episode_sample, _episode, _episode_error, quick=False),
    "lerobot": files(_lerobot_sample, _lerobot, _episode_error, quick=False),
    "lerobot_of_others": files(
        _lerobot_of_others, _lerobot_with_cameras, _episode_error, quick=False
    ),
    # The check-up refuses nothing: it reports.
    "lerobot_check": files(_lerobot_of_others, _lerobot_check, tuple, quick=False),
    "smolvla": files(_smolvla_sample, _smolvla, _smolvla_error, quick=False),
    "checkpoint": files(_checkpoint_sample, _checkpoint, _checkpoint_error, quick=False),
}
