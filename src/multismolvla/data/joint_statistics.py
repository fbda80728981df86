"""Mean, spread and quantiles per joint, under the names of LeRobot's `meta/stats.json`."""

from __future__ import annotations

import numpy as np

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}


def joint_statistics(values: np.ndarray) -> dict[str, list[float]]:
    """Of (..., J) numbers, over all axes but the last; `count` is how many rows there were.

    Raises:
        ValueError: there are no rows.
    """
    rows = values.reshape(-1, values.shape[-1]).astype(np.float64)
    if not len(rows):
        raise ValueError("there are no rows to take statistics of")
    found = {
        "min": rows.min(0),
        "max": rows.max(0),
        "mean": rows.mean(0),
        "std": rows.std(0),
        **{name: np.quantile(rows, share, axis=0) for name, share in QUANTILES.items()},
    }
    return {name: value.tolist() for name, value in found.items()} | {"count": [len(rows)]}
