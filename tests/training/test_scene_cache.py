"""Random scenes as a training cache."""

import dataclasses

import numpy as np
import pytest

from multismolvla.data.cache import TrainingCache
from multismolvla.streams import load_stream_table
from multismolvla.training.segmentation import scene_cache

pytest.importorskip("mujoco")


def test_scenes_are_a_cache_and_the_same_for_any_number_of_workers(tmp_path):
    table = load_stream_table("config/streams.yaml")
    small = tuple(dataclasses.replace(s, height=32, width=32) for s in table.streams[:4])
    table = dataclasses.replace(table, streams=small)
    for workers in (1, 2):
        scene_cache.write_scenes(tmp_path / str(workers), table, 60, workers, seed=5)
    one, two = (TrainingCache(tmp_path / str(workers)) for workers in (1, 2))
    assert len(one) == 100 and one.streams == table.names and one.objects == two.objects
    for name in ("state", "object_poses", "rgb", "depth"):
        assert np.array_equal(one.array(name), two.array(name))
    assert np.ptp(one.array("object_poses")[:, 0, 0]) > 0.1
    assert one.sample(np.array([3])).frames["depth"].max() > 200  # millimetres
