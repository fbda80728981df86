"""How the model reads privileged poses: object tokens of an estimate, and no view."""

from __future__ import annotations

from torch import Tensor

from multismolvla.policy.model import MultiSmolVLA, Prefix
from multismolvla.policy.object_tokens import Estimate


def no_views(model: MultiSmolVLA, state: Tensor) -> tuple[Tensor, Tensor]:
    """Views (B, V, 0, H) and which there are, (B, V): none, for states (B, max_state_dim).

    View tokens come first and positions count only relatively, so nothing else moves.
    """
    config = model.config
    views = state.new_zeros(len(state), len(config.views), 0, config.text.hidden_size)
    return views, views.new_zeros(views.shape[:2]).bool()


def read_privileged(
    model: MultiSmolVLA,
    scene: Estimate,
    mask: Tensor,
    language: Tensor,
    language_mask: Tensor,
    state: Tensor,
    compact: bool = False,
) -> Prefix:
    """`MultiSmolVLA.read` of an estimate instead of frames.

    Args:
        mask: (B, S) bool, the streams that would be usable.
        compact: leave out the padding of the language; the actions stay the same.
    """
    views, present = no_views(model, state)
    return model.read(
        views, present, mask, language, language_mask, state, compact=compact, estimate=scene
    )
