"""Models by name: what happens without the package, without the model, and to their classes."""

import sys
import types

import numpy as np
import pytest
import torch

from multismolvla.modalities.segmentation import LABELS
from multismolvla.segmentation.transformers_segmenter import TransformersSegmenter, label_map


class FakeProcessor:
    @staticmethod
    def from_pretrained(name):
        if name != "acme/segmenter":
            raise OSError(f"{name} is not a local folder\nand is not listed on the hub")
        return FakeProcessor()

    def __call__(self, images, return_tensors):
        return {"pixel_values": torch.from_numpy(images.astype(np.float32))}

    def post_process_semantic_segmentation(self, output, sizes):
        return [output.reshape(sizes[0])]


class FakeModel:
    """Takes the red channel for the class."""

    config = types.SimpleNamespace(id2label={0: "wall", 1: "desk; table", 2: "Plate"})

    @staticmethod
    def from_pretrained(name, use_safetensors):
        assert use_safetensors
        return FakeModel()

    def eval(self):
        return self

    def __call__(self, pixel_values):
        return pixel_values[:, :, 0].long()


@pytest.fixture
def transformers(monkeypatch):
    module = types.ModuleType("transformers")
    module.AutoImageProcessor = FakeProcessor
    module.AutoModelForSemanticSegmentation = FakeModel
    monkeypatch.setitem(sys.modules, "transformers", module)


def test_classes_become_labels_by_name(transformers):
    rgb = np.zeros((2, 3, 3), np.uint8)
    rgb[0, :, 0] = [0, 1, 2]
    labels = TransformersSegmenter("acme/segmenter").predict({"rgb": rgb, "depth": None})
    assert labels.dtype == np.uint8
    assert labels[0].tolist() == [0, LABELS.index("table"), LABELS.index("plate")]
    assert not labels[1].any()


def test_class_names_may_list_synonyms_in_any_order_of_ids():
    labels = label_map({3: "dish, Plate", 0: "bin", 1: "tableware"})
    assert labels.tolist() == [LABELS.index("bin"), 0, 0, LABELS.index("plate")]


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("", "needs the name of a model; parameter 'model'"),
        ("acme/gone", "cannot load the segmentation model 'acme/gone': acme/gone is not a local"),
    ],
)
def test_an_unreachable_model_is_one_clear_line(transformers, model, said):
    with pytest.raises(ValueError, match=said) as refusal:
        TransformersSegmenter(model)
    assert "\n" not in str(refusal.value)


def test_a_model_without_a_known_class_is_refused(transformers, monkeypatch):
    monkeypatch.setattr(FakeModel.config, "id2label", {0: "sky", 1: "sea"})
    with pytest.raises(ValueError, match="has none of the classes table, arm"):
        TransformersSegmenter("acme/segmenter")


def test_without_rgb_there_is_nothing_to_label(transformers):
    with pytest.raises(ValueError, match="needs rgb"):
        TransformersSegmenter("acme/segmenter").predict({"depth": np.ones((2, 2), np.float32)})


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ValueError, match="pip install transformers"):
        TransformersSegmenter("acme/segmenter")
