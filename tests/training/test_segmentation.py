"""Training of the segmentation network: its scenes, its score, and a very short run of it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from synthetic_cache import write_cache

from multismolvla.cli import main
from multismolvla.modalities.segmentation import LABELS
from multismolvla.segmentation.network import INPUT_KINDS, SegmentationNetwork
from multismolvla.segmentation.predictor import Segmenter
from multismolvla.segmentation.weights import load_weights
from multismolvla.streams import load_stream_table
from multismolvla.training.segmentation.cached_scenes import CachedScenes
from multismolvla.training.segmentation.command import (
    ALL_PRESENT,
    TABLE_END,
    TABLE_START,
    draw_presence,
)
from multismolvla.training.segmentation.scenes import Scenes
from multismolvla.training.segmentation.score import SUBSETS, score

CONFIG = Path(__file__).parents[2] / "config" / "streams.yaml"
TABLE = load_stream_table(CONFIG)


def draw(seed, count, vary_appearance=True):
    scenes = Scenes(TABLE, seed, vary_appearance)
    drawn = [scenes.next() for _ in range(count)]
    scenes.close()
    return drawn


def test_scenes_are_seeded_and_never_repeat():
    first, again, other = draw(1, 3), draw(1, 3), draw(2, 3)
    for one, two, three in zip(first, again, other, strict=True):
        assert np.array_equal(one[""]["rgb"], two[""]["rgb"])
        assert not np.array_equal(one[""]["rgb"], three[""]["rgb"])
    assert not np.array_equal(first[0]["wrist"]["thermal"], first[1]["wrist"]["thermal"])


def test_scenes_show_every_label():
    scenes = draw(0, 40)
    for view, first in (("", 1), ("wrist", 0)):
        # The table fills the top camera's view.
        seen = np.unique([scene[view]["segmentation"] for scene in scenes])
        assert seen.tolist() == list(range(first, len(LABELS)))


def test_appearance_varies_only_where_asked():
    def spread(vary_appearance):
        scenes = draw(0, 8, vary_appearance)
        table = [
            scene[""]["rgb"][scene[""]["segmentation"] == LABELS.index("table")].mean()
            for scene in scenes
        ]
        return np.std(table)

    assert spread(False) < 3.0 < 10.0 < spread(True)


def test_some_input_is_always_present_and_every_set_occurs():
    present = draw_presence(np.random.default_rng(0), 2000).numpy()
    assert present.any(axis=1).all()
    sets, counts = np.unique(present, axis=0, return_counts=True)
    assert len(sets) == len(SUBSETS)
    assert counts.min() > 100
    assert present.all(axis=1).mean() == pytest.approx(ALL_PRESENT, abs=0.04)


class Oracle(SegmentationNetwork):
    """Knows the truth from the thermal frame; guesses the table without it."""

    def forward(self, frames, present):
        truth = frames["thermal"][:, 0].long()
        if not present[0, INPUT_KINDS.index("thermal")]:
            truth = torch.full_like(truth, LABELS.index("table"))
        return torch.nn.functional.one_hot(truth, len(LABELS)).permute(0, 3, 1, 2).float()


def test_score_is_intersection_over_union_per_label_and_set_of_inputs():
    labels = np.full((8, 8), LABELS.index("table"), np.uint8)
    labels[:2] = LABELS.index("cube")
    view = {
        "rgb": np.zeros((8, 8, 3), np.uint8),
        "depth": np.ones((8, 8), np.float32),
        "thermal": labels.astype(np.float32),
        "segmentation": labels,
    }
    scores = score(Oracle(), [view])
    assert list(scores) == list(SUBSETS)
    for subset, values in scores.items():
        right = "thermal" in subset
        assert values[LABELS.index("cube")] == (1.0 if right else 0.0)
        assert values[LABELS.index("table")] == (1.0 if right else 48 / 64)
        assert np.isnan(values[LABELS.index("brick")])


def test_a_short_training_writes_weights_and_report(tmp_path, capsys):
    weights, report = tmp_path / "weights.safetensors", tmp_path / "report.md"
    report.write_text(f"before\n{TABLE_START}\nold\n{TABLE_END}\nafter\n")
    arguments = ["--streams", str(CONFIG), "--weights", str(weights), "--report", str(report)]
    short = ["--steps", "3", "--scenes-per-step", "2", "--held-out", "2"]
    assert main(["segmentation", *arguments, *short]) == 0
    metadata = load_weights(SegmentationNetwork(), weights)
    assert metadata["frames"] == 3 * 2 * 2
    assert metadata["seeds"]["training"] != metadata["seeds"]["held_out"]
    text = report.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert text.count("\n| ") == 1 + len(SUBSETS)


def test_a_missing_stream_table_is_one_line(tmp_path, capsys):
    assert main(["segmentation", "--streams", str(tmp_path / "none.yaml")]) == 2
    assert "cannot read the stream table" in capsys.readouterr().err


def test_recorded_frames_with_labels_teach_as_well(tmp_path, capsys):
    cache, weights = write_cache(tmp_path / "cache"), tmp_path / "w.safetensors"
    short = ["--steps", "2", "--scenes-per-step", "2", "--held-out", "3"]
    learn = ["segmentation", "--cache", str(cache), *short]
    assert main([*learn, "--weights", str(weights)]) == 0
    assert "rgb+depth+thermal" in capsys.readouterr().out
    labels = Segmenter(weights).predict({"rgb": np.zeros((32, 32, 3), np.uint8)})
    assert labels.shape == (32, 32)
    assert main(learn) == 2  # the shipped weights are the tabletop's
    assert "--weights FILE" in capsys.readouterr().err
    blind = write_cache(tmp_path / "blind", streams=("rgb", "depth", "wrist/rgb"))
    assert main([*learn[:2], str(blind), "--weights", str(weights)]) == 2
    assert "no labelled frames" in capsys.readouterr().err


def test_recorded_frames_come_once_each_in_a_pass(tmp_path):
    scenes = CachedScenes(write_cache(tmp_path / "cache"), "validation", 1)
    drawn = [scenes.next() for _ in range(len(scenes))]
    assert {tuple(views) for views in drawn} == {("", "wrist")}
    frames = {views[""]["rgb"].tobytes() for views in drawn}
    assert len(frames) == len(scenes)
    depth = drawn[0]["wrist"]["depth"]
    assert depth.dtype == np.float32 and 0.4 < depth.min() < depth.max() < 0.6  # metres
