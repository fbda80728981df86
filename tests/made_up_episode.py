"""Small random episodes."""

import numpy as np

from multismolvla.data.bag import PERIOD_NS
from multismolvla.data.episode import Episode
from multismolvla.embodiment.panda import PANDA
from multismolvla.embodiment.so101 import SO101
from multismolvla.modalities.registry import modality_of

STREAMS = ("rgb", "depth", "thermal", "wrist/segmentation")
HIGHEST = {"rgb": 256, "depth": 3000, "thermal": 40_000, "segmentation": 9}


def made_up_episode(seed=0, rows=9, every=2, streams=STREAMS, **changes):
    """A frame every `every` rows, 6x8 pixels."""
    rng = np.random.default_rng(seed)
    index = np.arange(0, rows, every)

    def frames(stream):
        modality = modality_of(stream)
        shape = (len(index), *modality.shape(6, 8))
        return rng.integers(0, HIGHEST[modality.name], shape).astype(modality.counts.dtype)

    values = {
        "instruction": f"do number {seed}",
        "joints": SO101.joint_names,
        "stamps_ns": 10**9 + np.arange(rows) * PERIOD_NS,
        "state": rng.normal(size=(rows, 6)),
        "action": rng.normal(size=(rows, 6)),
        "executed": rng.normal(size=(rows, 6)),
        "frames": {stream: frames(stream) for stream in streams},
        "frame_index": dict.fromkeys(streams, index),
        "masks": {stream: rng.random(len(index)) < 0.7 for stream in streams},
        "object_poses": {"cube": rng.normal(size=(rows, 7)), "brick": rng.normal(size=(rows, 7))},
        "success": True,
        "meta": {"task": "made_up", "seed": seed, "noise": 0.25, "source": "expert"},
        "chunks": rng.normal(size=(len(index), 50, 6)).astype(np.float32),
        "chunk_index": index,
    }
    return Episode(**(values | changes))


def made_up_steps(seed=0, rows=9, every=2, streams=("agentview/rgb", "wrist/depth"), **changes):
    """The same of LIBERO's arm: 8 numbers of a state, 7 of an action, every 50 ms."""
    rng = np.random.default_rng(1000 + seed)
    index = np.arange(0, rows, every)
    values = {
        "joints": PANDA.state_names,
        "stamps_ns": 10**9 + np.arange(rows) * 50_000_000,
        "state": rng.normal(size=(rows, 8)),
        "action": rng.uniform(-1, 1, (rows, 7)),
        "executed": rng.uniform(-1, 1, (rows, 7)),
        "object_poses": {name: rng.normal(size=(rows, 7)) for name in ("grasp", "place")},
        "chunks": rng.uniform(-1, 1, (len(index), 50, 7)).astype(np.float32),
        "action_space": PANDA.action,
    }
    return made_up_episode(seed, rows, every, streams, **(values | changes))


def assert_same(one, other, tolerance=0.0):
    """Everything but the stamps' origin is equal, numbers within the tolerance."""
    assert (one.instruction, one.success) == (other.instruction, other.success)
    assert dict(one.meta) == dict(other.meta)
    assert (one.joints, one.action_space) == (other.joints, other.action_space)
    np.testing.assert_allclose(np.diff(one.stamps_ns), np.diff(other.stamps_ns), atol=1)
    for name in ("state", "action", "executed", "chunks", "chunk_index"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=tolerance)
    assert set(one.frames) == set(other.frames)
    for stream in one.frames:
        np.testing.assert_array_equal(one.frames[stream], other.frames[stream])
        np.testing.assert_array_equal(one.frame_index[stream], other.frame_index[stream])
        np.testing.assert_array_equal(one.masks[stream], other.masks[stream])
    assert set(one.object_poses) == set(other.object_poses)
    for name in one.object_poses:
        np.testing.assert_allclose(one.object_poses[name], other.object_poses[name], atol=tolerance)
