"""View tokens on disk, for training what comes behind an encoder that does not change."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

ARRAYS = ("views", "present", "mask", "lost")


class ViewCache:
    """Variants of every sample, encoded once; variant v has the dropout of its part of the phase.

    Attributes:
        variants: how many per sample.
    """

    def __init__(self, folder: Path) -> None:
        self._arrays = {n: np.load(folder / f"{n}.npy", mmap_mode="r") for n in ARRAYS}
        self._place = np.load(folder / "place.npy")
        self.variants = len(self._arrays["views"])

    def read(
        self, rng: np.random.Generator, samples: np.ndarray, progress: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Tokens (B, V, T, H) float32, present (B, V), mask (B, S) and what is lost (B, S)."""
        near = progress * self.variants + rng.uniform(-1.0, 1.0, len(samples))
        variant = np.clip(near.astype(np.int64), 0, self.variants - 1)
        rows = (variant, self._place[samples])
        views, *rest = (torch.from_numpy(self._arrays[name][rows]) for name in ARRAYS)
        return (views.float(), *rest)


class ViewCacheWriter:
    """Fills the folder of a `ViewCache`; it is complete once `finish` has been called.

    Args:
        samples: (N,) indices of the samples to keep.
        length: samples of the whole training cache.
        shape: (V, T, H); streams: S.
    """

    def __init__(
        self,
        folder: Path,
        samples: np.ndarray,
        length: int,
        variants: int,
        shape: tuple[int, int, int],
        streams: int,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.complete = (folder / "place.npy").exists()
        if self.complete:
            return
        self._place = np.full(length, -1)
        self._place[samples] = np.arange(len(samples))
        kinds = {"views": (np.float16, shape), "present": (bool, shape[:1])}
        kinds |= {"mask": (bool, (streams,)), "lost": (bool, (streams,))}
        self._arrays = {
            name: np.lib.format.open_memmap(
                folder / f"{name}.npy", "w+", dtype, (variants, len(samples), *rest)
            )
            for name, (dtype, rest) in kinds.items()
        }

    def write(self, variant: int, samples: np.ndarray, **values: Tensor) -> None:
        """Keep `views`, `present`, `mask` and `lost` of some samples."""
        for name, value in values.items():
            self._arrays[name][variant, self._place[samples]] = value.cpu().numpy()

    def finish(self) -> None:
        """Everything is written."""
        for array in self._arrays.values():
            array.flush()
        np.save(self._folder / "place.npy", self._place)
        self.complete = True
