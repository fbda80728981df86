"""The camera of a view, kept in the metadata of an episode whose source knows it: a simulator.

So that training can tell a policy in which part of a frame a thing is. Ten numbers: vertical field
of view in degrees; 1 where the frames are mirrored left-right, else 0; 1 where the pose is relative
to the gripper, else 0 for the base frame; x, y, z in metres and qw, qx, qy, qz. The camera looks
along its -z axis, with x to the right of an image that is not mirrored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

NUMBERS = 10


def camera_meta(view: str, numbers: Sequence[float]) -> dict[str, str]:
    """What to add to an episode's metadata for a view's camera."""
    assert len(numbers) == NUMBERS
    return {f"camera {view}": " ".join(f"{number:.6g}" for number in numbers)}


def view_cameras(meta: Mapping[str, object], views: Sequence[str]) -> np.ndarray:
    """(V, 10) of the views, NaN for one whose camera the episode does not tell."""
    cameras = np.full((len(views), NUMBERS), np.nan)
    for row, view in enumerate(views):
        known = meta.get(f"camera {view}")
        if known is not None:
            cameras[row] = [float(number) for number in str(known).split()]
    return cameras
