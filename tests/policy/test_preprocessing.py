"""Preparing frames: values, holes, batches, sizes and refusals."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from multismolvla.embodiment.so101 import SO101
from multismolvla.modalities.rgb import RGB
from multismolvla.modalities.segmentation import LABELS
from multismolvla.policy.config import PRESETS, PolicyConfig, SiglipConfig, tiny
from multismolvla.policy.preprocessing import prepare_frame
from multismolvla.streams import Stream

GOLDEN = Path(__file__).parents[1] / "golden" / "smolvla_tiny" / "golden.safetensors"
STREAMS = {
    kind: Stream(kind, kind, 32, 32, 15.0, "camera_optical_frame")
    for kind in ("rgb", "depth", "thermal", "segmentation")
}
CONFIG = tiny(tuple(STREAMS.values()), SO101)
PLAIN = PolicyConfig(
    joints=SO101.joint_names,
    encoder="siglip",
    siglip=SiglipConfig(image_size=32),
    streams=(STREAMS["rgb"],),
)


def frame(kind: str, *shape: int) -> np.ndarray:
    rng = np.random.default_rng(len(kind))
    if kind == "rgb":
        return rng.integers(0, 256, (*shape, 3), np.uint8)
    if kind == "segmentation":
        return rng.integers(0, len(LABELS), shape, np.uint8)
    low, high = (0.3, 0.9) if kind == "depth" else (15.0, 60.0)
    return rng.uniform(low, high, shape).astype(np.float32)


def prepare(kind: str, pixels: np.ndarray, config: PolicyConfig = CONFIG) -> torch.Tensor:
    return prepare_frame(STREAMS[kind], pixels, config)


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("size", [32, 48, 20], ids=["same", "larger", "smaller"])
def test_a_batch_is_its_frames_one_by_one(kind, size):
    batch = np.stack([frame(kind, size, size)] * 2)
    batch[1] = batch[1][::-1]
    together = prepare(kind, batch)
    channels = {"rgb": 3, "depth": 3, "thermal": 1, "segmentation": 9}[kind]
    assert together.shape == (2, channels, 32, 32) and together.dtype == torch.float32
    torch.testing.assert_close(together[0], prepare(kind, batch[0]), rtol=0, atol=0)
    torch.testing.assert_close(together[1], prepare(kind, batch[1]), rtol=0, atol=0)


def test_rgb_is_normalised_as_imagenet():
    pixels = np.empty((32, 32, 3), np.uint8)
    pixels[:] = (255, 0, 51)
    for channel, value in enumerate((1.0, 0.0, 0.2)):
        expected = (value - RGB.prepare.centre[channel]) / RGB.prepare.scale[channel]
        assert prepare("rgb", pixels)[channel].unique().tolist() == pytest.approx([expected])


def test_shrinking_averages_rather_than_skips_pixels():
    stripes = np.zeros((320, 320, 3), np.uint8)
    stripes[:, ::2] = 255
    prepared = prepare("rgb", stripes) * torch.tensor(RGB.prepare.scale)[:, None, None]
    grey = prepared + torch.tensor(RGB.prepare.centre)[:, None, None]
    assert grey[:, 1:-1, 1:-1].sub(0.5).abs().max() < 0.02


@pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf, 0.0, -1.0])
def test_a_hole_in_the_depth_is_zero_and_invalid(hole):
    depth = frame("depth", 32, 32)
    depth[3, 4] = hole
    depth[5, 6] = 0.75
    value, valid, relief = prepare("depth", depth)
    assert value[3, 4] == 0.0 and valid[3, 4] == 0.0 and relief[3, 4] == 0.0
    assert relief.isfinite().all()
    assert value[5, 6] == 1.0 and valid[5, 6] == 1.0
    assert valid.sum() == 32 * 32 - 1


def test_relief_is_what_stands_out_of_a_slope():
    """A table that falls away by 30 cm, with a thing of 3 cm and a hole in it."""
    slope = np.linspace(0.4, 0.7, 32, dtype=np.float32)[:, None].repeat(32, axis=1)
    bare, depth = slope.copy(), slope.copy()
    depth[14:16, 14:16] -= 0.03
    depth[20, 20] = np.nan
    inside = slice(5, -5)
    assert prepare("depth", bare)[2, inside, inside].abs().max() < 1e-3
    relief = prepare("depth", depth)[2]
    on_top = relief[14:16, 14:16]
    # In units of 2 cm, less what the thing itself adds to the mean around it.
    assert on_top.min() > 1.2 and on_top.max() < 1.6
    others = relief[inside, inside].clone()
    others[9:11, 9:11] = 0.0
    assert others.abs().max() < 0.2
    # Nothing is beyond the bounds, however high it stands.
    depth[14:16, 14:16] -= 0.3
    assert prepare("depth", depth)[2].abs().max() == 3.0


@pytest.mark.parametrize(("kind", "values"), [("depth", (0.3, 0.9)), ("segmentation", (2, 7))])
@pytest.mark.parametrize("size", [64, 45, 16])
def test_depth_and_labels_are_never_mixed_over_an_edge(kind, values, size):
    edge = np.full((size, size), values[0], frame(kind, 1, 1).dtype)
    edge[:, size // 2 :] = values[1]
    prepared = prepare(kind, edge)
    if kind == "depth":
        assert len(prepared[0].unique()) == 2
    else:
        assert prepared.sum(dim=0).eq(1.0).all()
        assert prepared.amax(dim=(1, 2)).nonzero().flatten().tolist() == [2, 7]


def test_a_dead_thermal_pixel_is_room_temperature():
    celsius = np.full((32, 32), 45.0, np.float32)
    celsius[0, 0], celsius[9, 9] = np.nan, np.inf
    prepared = prepare("thermal", celsius)[0]
    assert prepared[0, 0] == 0.0 and prepared[9, 9] == 0.0
    assert prepared[1, 1] == 1.0


def test_labels_become_one_channel_each_and_unknown_ones_background():
    labels = np.full((32, 32), LABELS.index("cube"), np.uint8)
    labels[0, 0] = 200
    prepared = prepare("segmentation", labels)
    assert prepared[LABELS.index("cube")].sum() == 32 * 32 - 1
    assert prepared[0, 0, 0] == 1.0
    assert prepared.sum(dim=0).eq(1.0).all()


@pytest.mark.parametrize("shape", [(24, 32), (48, 64)])
def test_for_siglip_a_wide_frame_sits_at_the_bottom_under_black(shape):
    white = np.full((*shape, 3), 255, np.uint8)
    prepared = prepare("rgb", white, PLAIN)
    assert prepared.shape == (3, 32, 32)
    assert prepared[:, :8].unique().tolist() == [-1.0]
    assert prepared[:, 8:].unique().tolist() == [1.0]


def test_for_siglip_a_tall_frame_sits_at_the_right():
    prepared = prepare("rgb", np.full((64, 32, 3), 255, np.uint8), PLAIN)
    assert prepared[:, :, :16].unique().tolist() == [-1.0]
    assert prepared[:, :, 16:].unique().tolist() == [1.0]


@pytest.mark.parametrize("camera", [0, 1])
def test_for_siglip_the_result_is_that_of_lerobot(camera):
    golden = load_file(GOLDEN)
    config = dataclasses.replace(PLAIN, siglip=SiglipConfig(image_size=64))
    images = golden[f"in.camera{camera + 1}_u8"].movedim(1, -1).numpy()
    expected = golden[f"mid.image_prepared{camera}"]
    assert (prepare("rgb", images, config) - expected).abs().max() < 1e-6


def test_what_was_prepared_does_not_change_with_the_frame():
    for kind in STREAMS:
        pixels = frame(kind, 32, 32)
        prepared = prepare(kind, pixels)
        before = prepared.clone()
        pixels[:] = 1
        assert torch.equal(prepared, before)
        pixels.flags.writeable = False
        prepare(kind, pixels[::-1])


@pytest.mark.parametrize(
    ("kind", "pixels", "complaint"),
    [
        ("rgb", np.zeros((32, 32), np.uint8), r"rgb: got \(32, 32\) uint8; expected \(H, W, 3\)"),
        ("rgb", np.zeros((32, 32, 4), np.uint8), r"rgb: got \(32, 32, 4\)"),
        ("rgb", np.zeros((32, 32, 3), np.float32), r"float32; expected \(H, W, 3\) uint8"),
        ("depth", np.zeros((32, 32), np.uint16), r"uint16; expected \(H, W\) float32"),
        ("depth", np.zeros(32, np.float32), r"depth: got \(32,\)"),
        ("thermal", np.zeros((0, 32), np.float32), r"thermal: got \(0, 32\)"),
        ("segmentation", np.zeros((32, 32), np.int64), r"int64; expected \(H, W\) uint8"),
        ("rgb", np.zeros((32, 64, 3), np.uint8), "expected the shape of 32 x 32"),
        ("depth", None, "depth: got NoneType"),
    ],
)
def test_a_wrong_frame_is_one_clear_line(kind, pixels, complaint):
    with pytest.raises(ValueError, match=complaint) as error:
        prepare(kind, pixels)
    assert "\n" not in str(error.value)


def test_every_preset_prepares_at_its_own_size():
    for name, preset in PRESETS.items():
        config = preset((STREAMS["rgb"],), SO101)
        size = getattr(config, config.encoder).image_size
        stream = dataclasses.replace(STREAMS["rgb"], height=96, width=96)
        prepared = prepare_frame(stream, frame("rgb", 96, 96), config)
        assert prepared.shape == (3, size, size), name
