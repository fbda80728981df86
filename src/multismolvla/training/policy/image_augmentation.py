"""Variations of frames as from other cameras in other light, so that a policy does not overfit.

Works on batches of frames as they are stored, before anything else sees them. Colours keep their
names: a red cube stays red, since instructions speak of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from multismolvla.modalities.modality import Modality
from multismolvla.streams import Stream
from multismolvla.training.policy.recipe import AugmentRecipe

# Weights of ITU-R BT.601, for what is grey in a colour.
GREY = np.array([0.299, 0.587, 0.114], np.float32)
# Side of the random fields that become blotches.
COARSE = 6
# Noise is cut out of one block at random places: drawing it again would cost more than the rest.
_NOISE = np.random.default_rng(0).standard_normal(1 << 20, dtype=np.float32)


def augment(
    rng: np.random.Generator,
    frames: Mapping[str, np.ndarray],
    streams: Sequence[Stream],
    recipe: AugmentRecipe,
) -> dict[str, np.ndarray]:
    """Return varied frames: stream -> (B, H, W[, 3]) of the same types and shapes."""
    shifts: dict[str, np.ndarray] = {}
    result = {}
    for stream in streams:
        if stream.name not in frames:
            continue
        batch = frames[stream.name]
        if stream.view not in shifts:
            limit = recipe.shift_px
            shifts[stream.view] = rng.integers(-limit, limit + 1, (len(batch), 2))
        modality = stream.modality
        if modality.channels == 3:
            batch = _colour(rng, batch, recipe)
        elif modality.labels:
            batch = _labels(rng, batch, modality, recipe)
        else:
            batch = _values(rng, batch, modality, recipe)
        result[stream.name] = _shifted(batch, shifts[stream.view])
    return result


def _colour(rng: np.random.Generator, batch: np.ndarray, recipe: AugmentRecipe) -> np.ndarray:
    count, height, width, _ = batch.shape
    spread = recipe.colour
    if spread == 0.0 and recipe.texture == 0.0:
        return batch

    def around_one(*shape: int) -> np.ndarray:
        return np.exp(rng.uniform(-spread, spread, shape)).astype(np.float32)

    # One matrix and offset per frame: saturation, then gain per channel, brightness and contrast.
    saturation = around_one(count, 1, 1)
    matrix = saturation * np.eye(3, dtype=np.float32) + (1.0 - saturation) * GREY
    gain = around_one(count, 1, 1) * around_one(count, 3, 1) ** 0.4
    matrix = gain * matrix
    offset = rng.uniform(-0.5, 0.5, (count, 1, 1)).astype(np.float32) * spread * 128.0
    contrast_about = 128.0 * (1.0 - gain.mean(axis=1, keepdims=True))
    pixels = batch.reshape(count, -1, 3).astype(np.float32)
    pixels = pixels @ matrix.transpose(0, 2, 1)
    pixels += offset + rng.uniform(0, 1, (count, 1, 1)).astype(np.float32) * contrast_about
    pixels = pixels.reshape(count, height, width, 3)
    if recipe.texture > 0.0:
        # Light falls unevenly, surfaces are blotchy, sensors are noisy: each by its own amount.
        amounts = rng.uniform(0.0, recipe.texture, (count, 1, 1, 1)).astype(np.float32)
        blotches = _blotches(rng, count, height, width)[..., None]
        pixels *= 1.0 + 2.0 * amounts * blotches
        sigma = rng.uniform(0.0, 255.0 * recipe.texture, (count, 1, 1, 1)).astype(np.float32)
        pixels += sigma * _noise(rng, pixels.shape)
    return np.clip(pixels, 0.0, 255.0).astype(np.uint8)


def _values(
    rng: np.random.Generator, batch: np.ndarray, modality: Modality, recipe: AugmentRecipe
) -> np.ndarray:
    vary = modality.vary
    error = 0.0
    if vary is not None:
        error = getattr(recipe, vary.key) if vary.key else recipe.others * vary.error
    if error == 0.0:
        return batch
    count, height, width = batch.shape
    counts = modality.counts
    sigma = error / counts.scale
    error = rng.normal(0.0, sigma, (count, 1, 1)).astype(np.float32)
    error = error + vary.blotches * sigma * _blotches(rng, count, height, width)
    error += vary.noise * sigma * _noise(rng, batch.shape)
    least = 1.0 if modality.has_holes else 0.0
    varied = np.clip(batch + error, least, float(np.iinfo(counts.dtype).max)).astype(counts.dtype)
    if not modality.has_holes:
        return varied
    there = batch > 0
    if modality.no_return:
        # Now and then a hole.
        there &= _noise(rng, batch.shape) < 3.0
    return np.where(there, varied, 0).astype(counts.dtype)


def _labels(
    rng: np.random.Generator, batch: np.ndarray, modality: Modality, recipe: AugmentRecipe
) -> np.ndarray:
    if recipe.labels == 0.0:
        return batch
    labels = rng.integers(0, len(modality.labels), (len(batch), 1, 1), dtype=np.uint8)
    return np.where(rng.random(batch.shape, np.float32) < recipe.labels, labels, batch)


def _shifted(batch: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Each frame moved by its (rows, columns) of `shifts`; the border is repeated."""
    limit = int(np.abs(shifts).max(initial=0))
    if limit == 0:
        return batch
    height, width = batch.shape[1:3]
    rows = np.clip(np.arange(height) - shifts[:, :1], 0, height - 1)
    columns = np.clip(np.arange(width) - shifts[:, 1:], 0, width - 1)
    return batch[np.arange(len(batch))[:, None, None], rows[:, :, None], columns[:, None, :]]


def _noise(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Standard normal numbers; each frame's are another part of the block."""
    size = int(np.prod(shape[1:]))
    if size > len(_NOISE):
        return rng.standard_normal(shape, dtype=np.float32)
    starts = rng.integers(0, len(_NOISE) - size + 1, shape[0])
    return np.stack([_NOISE[start : start + size] for start in starts]).reshape(shape)


def _blotches(rng: np.random.Generator, count: int, height: int, width: int) -> np.ndarray:
    """Smooth random fields (count, height, width), standard normal at their knots."""
    coarse = rng.standard_normal((count, COARSE, COARSE), dtype=np.float32)
    fields = [cv2.resize(f, (width, height), interpolation=cv2.INTER_CUBIC) for f in coarse]
    return np.stack(fields)
