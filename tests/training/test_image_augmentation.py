"""Varied pictures are still pictures of the same things."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_cache import SIZE, STREAMS, draw

from multismolvla.streams import Stream
from multismolvla.training.policy.image_augmentation import augment
from multismolvla.training.policy.recipe import AugmentRecipe

TABLE = tuple(
    Stream(name, name.rpartition("/")[2], SIZE, SIZE, 15.0, "optical_frame") for name in STREAMS
)


def frames(count: int = 3) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {n: np.stack([draw(n, np.zeros(2), rng) for _ in range(count)]) for n in STREAMS}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.floats(0, 1), st.floats(0, 0.3), st.integers(0, 4))
def test_types_and_shapes_stay(seed, colour, texture, shift):
    given_frames = frames()
    recipe = AugmentRecipe(colour=colour, texture=texture, shift_px=shift)
    varied = augment(np.random.default_rng(seed), given_frames, TABLE, recipe)
    for name, frame in given_frames.items():
        assert varied[name].dtype == frame.dtype and varied[name].shape == frame.shape


def test_a_red_square_stays_red_and_does_not_stay_the_same():
    red = {"rgb": np.full((200, 8, 8, 3), (200, 40, 40), np.uint8)}
    varied = augment(np.random.default_rng(0), red, TABLE[:1], AugmentRecipe())["rgb"]
    colours = varied.reshape(200, -1, 3).mean(axis=1)
    assert (colours[:, 0] > 1.5 * colours[:, 1:].max(axis=1)).mean() > 0.95
    assert colours.std(axis=0).min() > 5.0


def test_no_depth_stays_no_depth():
    holes = {"depth": np.zeros((4, 16, 16), np.uint16)}
    varied = augment(np.random.default_rng(0), holes, TABLE[1:2], AugmentRecipe())
    assert not varied["depth"].any()


def test_all_streams_of_a_view_move_together():
    recipe = AugmentRecipe(0, 0, shift_px=4, depth_m=0, thermal_c=0, labels=0)
    varied = augment(np.random.default_rng(3), frames(), TABLE, recipe)
    near, label = varied["depth"] == 450, varied["segmentation"] == 6
    assert np.array_equal(near, label)
    assert not np.array_equal(near, frames()["depth"] == 450)


def test_nothing_changes_at_strength_zero():
    recipe = AugmentRecipe(0, 0, shift_px=0, depth_m=0, thermal_c=0, labels=0)
    varied = augment(np.random.default_rng(0), frames(), TABLE, recipe)
    assert all(np.array_equal(varied[name], frame) for name, frame in frames().items())
