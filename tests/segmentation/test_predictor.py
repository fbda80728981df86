"""The shipped weights on frames of the simulator, and refusals of what cannot be labelled."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from multismolvla.modalities.segmentation import LABELS
from multismolvla.processor import Processor, read_processor
from multismolvla.segmentation import predictor
from multismolvla.segmentation.network import INPUT_KINDS, SegmentationNetwork
from multismolvla.segmentation.predictor import Segmenter, to_tensor
from multismolvla.segmentation.weights import (
    WEIGHTS,
    WEIGHTS_FILE,
    WeightsError,
    find_network,
    load_weights,
    save_weights,
)
from multismolvla.streams import load_stream_table
from multismolvla.training.segmentation.scenes import Scenes
from multismolvla.training.segmentation.score import SUBSETS

OBJECTS = [LABELS.index(label) for label in ("cube", "cylinder", "brick")]
TABLE = load_stream_table(Path(__file__).parents[2] / "config" / "streams.yaml")


@pytest.fixture(scope="module")
def segmenter():
    return Segmenter(threads=1)


@pytest.fixture(scope="module")
def views():
    # A seed that neither training nor its report has used.
    scenes = Scenes(TABLE, seed=3, vary_appearance=False)
    yield [view for _ in range(6) for view in scenes.next().values()]
    scenes.close()


@pytest.mark.parametrize("subset", SUBSETS, ids="+".join)
def test_labels_frames_of_the_simulator_from_any_inputs(segmenter, views, subset):
    right = total = found = there = 0
    for view in views:
        labels = segmenter.predict({kind: view[kind] for kind in subset})
        assert labels.dtype == np.uint8
        assert labels.shape == view["segmentation"].shape
        right += (labels == view["segmentation"]).sum()
        total += labels.size
        # Objects cover few pixels: a network blind to them would still be right nearly everywhere.
        object_pixels = np.isin(view["segmentation"], OBJECTS)
        found += (labels == view["segmentation"])[object_pixels].sum()
        there += object_pixels.sum()
    assert right / total > 0.9
    assert found / there > (0.7 if subset == ("depth",) else 0.9)


def test_folded_weights_label_as_the_trained_network_does(segmenter, views):
    network = SegmentationNetwork()
    load_weights(network, WEIGHTS_FILE)
    network.eval()
    differ = total = 0
    for view in views:
        frames = {kind: to_tensor(kind, view[kind])[None] for kind in INPUT_KINDS}
        with torch.inference_mode():
            expected = network(frames, torch.ones(1, 3, dtype=torch.bool))[0].argmax(0).numpy()
        differ += (segmenter.predict({k: view[k] for k in INPUT_KINDS}) != expected).sum()
        total += expected.size
    # Ties alone.
    assert differ <= 1e-4 * total


def test_views_of_a_batch_are_labelled_as_alone(segmenter, views):
    whole = [{kind: view[kind] for kind in INPUT_KINDS} for view in views[:3]]
    smaller = {kind: frame[:48, :64] for kind, frame in whole[0].items()}
    sets = [
        whole[0],
        {"depth": whole[1]["depth"]},
        smaller,
        {"rgb": whole[2]["rgb"], "depth": None},
    ]
    labels = segmenter.predict_batch(sets)
    assert [each.shape for each in labels] == [(96, 96), (96, 96), (48, 64), (96, 96)]
    for frames, ours in zip(sets, labels, strict=True):
        assert ours.dtype == np.uint8
        assert (ours != segmenter.predict(frames)).mean() < 1e-3
    assert segmenter.predict_batch([]) == []


def test_one_bad_view_of_a_batch_is_refused(segmenter, views):
    with pytest.raises(ValueError, match="nothing to segment"):
        segmenter.predict_batch([{"rgb": views[0]["rgb"]}, {"rgb": None}])


def test_a_frame_of_none_is_missing(segmenter, views):
    alone = segmenter.predict({"depth": views[0]["depth"]})
    with_nones = segmenter.predict({"rgb": None, "depth": views[0]["depth"], "thermal": None})
    assert np.array_equal(alone, with_nones)


RGB = np.zeros((16, 16, 3), np.uint8)


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        ({}, "nothing to segment: give at least one of rgb, depth, thermal"),
        ({"rgb": None}, "nothing to segment"),
        ({"sonar": RGB}, "frames of kind 'sonar'; expected rgb, depth, thermal"),
        ({"rgb": RGB.astype(np.float32)}, r"rgb frame has shape .* type float32; expected"),
        ({"rgb": RGB[:, :, 0]}, r"shape \(16, 16\) .* expected \(H, W, 3\) uint8"),
        ({"rgb": RGB[:0]}, r"shape \(0, 16, 3\)"),
        ({"depth": np.zeros((16, 16), np.uint16)}, r"expected \(H, W\) float32"),
        ({"rgb": RGB, "depth": np.ones((8, 16), np.float32)}, "must have one size"),
    ],
)
def test_what_cannot_be_labelled_is_refused_in_one_line(segmenter, frames, said):
    with pytest.raises(ValueError, match=said) as refusal:
        segmenter.predict(frames)
    assert "\n" not in str(refusal.value)


def test_shipped_weights_are_small_and_say_what_they_are(segmenter):
    assert WEIGHTS_FILE.stat().st_size < 5_000_000
    assert segmenter.metadata["classes"] == list(LABELS)
    assert len(segmenter.metadata["mean_iou"]) == len(SUBSETS)
    assert {"git_revision", "seeds", "normalisation"} <= set(segmenter.metadata)


def test_a_network_is_found_by_its_world_or_its_file(tmp_path):
    assert find_network("") == find_network("tabletop") == WEIGHTS_FILE
    assert find_network("libero") == WEIGHTS["libero"] != WEIGHTS_FILE
    trained = [Segmenter(find_network(world)).metadata["git_revision"] for world in WEIGHTS]
    assert len(set(trained)) == len(WEIGHTS)
    mine = tmp_path / "mine.safetensors"
    assert find_network(str(mine)) == mine
    with pytest.raises(WeightsError, match=r"mine\.safetensors: cannot read"):
        Segmenter(find_network(str(mine)))


def test_weights_survive_being_saved_and_loaded(tmp_path):
    torch.manual_seed(1)
    network, other = SegmentationNetwork(), SegmentationNetwork()
    save_weights(network, tmp_path / "weights", seeds=[1])
    assert load_weights(other, tmp_path / "weights")["seeds"] == [1]
    for name, value in network.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])


def test_weights_that_do_not_fit_are_refused_by_name(tmp_path):
    network = SegmentationNetwork()
    with pytest.raises(WeightsError, match="nowhere: cannot read the segmentation weights"):
        load_weights(network, tmp_path / "nowhere")
    (tmp_path / "broken").write_bytes(b"no safetensors")
    with pytest.raises(WeightsError, match="broken: cannot read"):
        load_weights(network, tmp_path / "broken")
    save_weights(network, tmp_path / "labels", classes=["cat", "dog"])
    with pytest.raises(WeightsError, match=r"classes is \['cat', 'dog'\]; this version expects"):
        load_weights(network, tmp_path / "labels")
    state = load_file(tmp_path / "labels")
    state.pop("head.bias")
    meaning = {"classes", "inputs", "normalisation", "relief_scale_m"}
    metadata = {key: json.dumps(value) for key, value in Segmenter().metadata.items()}
    save_file(state, tmp_path / "short", {k: v for k, v in metadata.items() if k in meaning})
    with pytest.raises(WeightsError, match=r"short: the weights fit another network.*head.bias"):
        load_weights(network, tmp_path / "short")


@pytest.mark.skipif(not read_processor().has_amx_bfloat16, reason="no AMX on this processor")
def test_bfloat16_gives_the_same_labels_but_for_rare_pixels(segmenter, views):
    inputs = [{kind: view[kind] for kind in INPUT_KINDS} for view in views]
    exact = np.stack(segmenter.predict_batch(inputs))
    rounded = np.stack(Segmenter(threads=1, precision="bfloat16").predict_batch(inputs))
    assert np.mean(exact != rounded) < 0.005


def test_auto_is_what_the_processor_multiplies_and_an_unknown_precision_is_refused(monkeypatch):
    for flags, chosen in (({"amx_bf16"}, "bfloat16"), ({"avx512f"}, "float32")):
        monkeypatch.setattr(
            predictor, "read_processor", lambda flags=flags: Processor("p", frozenset(flags))
        )
        assert Segmenter(precision="auto").precision == chosen
    with pytest.raises(ValueError, match="no tiles"):
        Segmenter(precision="bfloat16")
    with pytest.raises(ValueError, match="expected auto, float32, bfloat16"):
        Segmenter(precision="int4")
