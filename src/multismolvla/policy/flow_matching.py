"""Flow matching on action chunks: the path from actions to noise.

Time runs from 0 (actions) to 1 (noise), as in SmolVLA (arXiv 2506.01844) and pi0 (arXiv
2410.24164): x_t = t noise + (1 - t) actions, so the velocity dx/dt is noise - actions everywhere
on the path. Sampling integrates that velocity from 1 to 0 (`solvers.py`).
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

# Beta(1.5, 1) leans towards noise, where the velocity is hardest to predict; the last 0.1 % next to
# the actions is left out (pi0, appendix B; SmolVLA uses the same numbers).
BETA_ALPHA = 1.5
TIME_SCALE = 0.999
TIME_OFFSET = 0.001


def flow_time(uniform: np.ndarray) -> np.ndarray:
    """Turn draws from [0, 1) into draws of the flow time.

    Beta(a, 1) has the distribution function x^a, so a uniform number to the power 1/a is a draw
    from it.
    """
    return TIME_SCALE * uniform ** (1.0 / BETA_ALPHA) + TIME_OFFSET


def interpolate(actions: Tensor, noise: Tensor, time: Tensor) -> Tensor:
    """Return x_t (B, T, A), the point of the path at `time` (B,) from actions to noise."""
    t = time[:, None, None]
    return t * noise + (1.0 - t) * actions


def target_velocity(actions: Tensor, noise: Tensor) -> Tensor:
    """Return u_t = dx_t/dt (B, T, A), the same at every time."""
    return noise - actions
