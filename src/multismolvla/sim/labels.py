"""Label and temperature of every geom, declared by the scene file in the geom's user values."""

from __future__ import annotations

import mujoco

from multismolvla.modalities.segmentation import LABELS


def label_of_geom(model: mujoco.MjModel, geom_id: int) -> int:
    """Index into `LABELS` of a geom; 0 (background) for geom id -1, where a ray hit nothing.

    Raises:
        ValueError: the scene file gives the geom a label that `LABELS` does not have.
    """
    if geom_id < 0:
        return 0
    label = model.geom_user[geom_id, 0]
    if label != int(label) or not 0 <= label < len(LABELS):
        raise ValueError(
            f"geom '{model.geom(geom_id).name}': user label is {label}; "
            f"expected an index into LABELS, 0 to {len(LABELS) - 1}"
        )
    return int(label)


def temperature_of_geom(model: mujoco.MjModel, geom_id: int) -> float:
    """Surface temperature of a geom, degrees Celsius."""
    return float(model.geom_user[geom_id, 1])
