"""What a pose check finds in single pictures, as a heat map."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def write_pose_chart(path: Path, found: Mapping[str, Mapping[str, float]]) -> None:
    """Write a PNG with a row per stream and a column for each thing that was done to pictures.

    Args:
        found: stream -> what was done -> share of the pictures beyond the margin.
    """
    columns = list(next(iter(found.values())))
    shares = np.array([[own[name] for name in columns] for own in found.values()])
    figure, axes = plt.subplots(
        figsize=(3.0 + 0.55 * len(columns), 1.9 + 0.3 * len(found)), layout="constrained"
    )
    image = axes.imshow(shares, cmap="viridis", vmin=0.0, vmax=1.0, aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        colour = "black" if share > 0.6 else "white"
        text = f"{100 * share:.0f}"
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(columns)), columns, rotation=40, ha="right", fontsize=8)
    axes.set_yticks(range(len(found)), list(found), fontsize=8)
    axes.set_title("single pictures that speak against their stream, percent", fontsize=9)
    figure.colorbar(image, fraction=0.05)
    figure.savefig(path, dpi=120)
    plt.close(figure)
