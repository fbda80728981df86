"""Labels from a `transformers` model for semantic segmentation, found by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from multismolvla.modalities.segmentation import LABELS
from multismolvla.one_line import one_line


class TransformersSegmenter:
    """Labels RGB frames with the classes that a model shares, by name, with `LABELS`.

    Every other class of the model becomes `background`.
    """

    inputs: tuple[str, ...] = ("rgb",)

    def __init__(self, model: str) -> None:
        """Load a model from a folder or from the Hugging Face hub; safetensors only.

        Raises:
            ValueError: no model is named, `transformers` is not installed, the model cannot be
                reached, or it has no class of `LABELS`.
        """
        if not model:
            raise ValueError("backend 'transformers' needs the name of a model; parameter 'model'")
        try:
            from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation
        except ImportError:
            raise ValueError(
                "backend 'transformers' needs the package transformers: pip install transformers, "
                "or choose the backend 'network'"
            ) from None
        try:
            self._processor = AutoImageProcessor.from_pretrained(model)
            self._model = AutoModelForSemanticSegmentation.from_pretrained(
                model, use_safetensors=True
            ).eval()
        except (OSError, ValueError) as error:
            reason = one_line(error)[:200]
            raise ValueError(
                f"cannot load the segmentation model '{model}': {reason}; give a folder, or a name "
                "on the Hugging Face hub and a connection to it"
            ) from None
        self._labels = label_map(self._model.config.id2label)
        if not self._labels.any():
            raise ValueError(
                f"the segmentation model '{model}' has none of the classes {', '.join(LABELS[1:])}"
            )

    def predict_batch(self, views: Sequence[Mapping[str, np.ndarray | None]]) -> list[np.ndarray]:
        """Return `predict` of each."""
        return [self.predict(frames) for frames in views]

    def predict(self, frames: Mapping[str, np.ndarray | None]) -> np.ndarray:
        """Return labels (H, W) uint8, indices into `LABELS`, of `rgb` (H, W, 3) uint8.

        Raises:
            ValueError: there is no RGB frame.
        """
        import torch

        rgb = frames.get("rgb")
        if rgb is None:
            raise ValueError("nothing to segment: the model needs rgb")
        with torch.inference_mode():
            output = self._model(**self._processor(images=rgb, return_tensors="pt"))
        (classes,) = self._processor.post_process_semantic_segmentation(output, [rgb.shape[:2]])
        return self._labels[classes.numpy()]


def label_map(class_names: Mapping[int, str]) -> np.ndarray:
    """Return (classes,) uint8: for each class of a model the index into `LABELS`, 0 for none.

    A class may list synonyms separated by commas or semicolons.
    """
    labels = np.zeros(max(class_names) + 1, np.uint8)
    for index, text in class_names.items():
        for name in text.lower().replace(";", ",").split(","):
            if name.strip() in LABELS:
                labels[index] = LABELS.index(name.strip())
    return labels
