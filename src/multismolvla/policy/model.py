"""MultiSmolVLA, from frames and an instruction to a chunk of actions. Read `MultiSmolVLA` first.

    frames, mask ── visual encoder ──► view tokens ┐
    view tokens ── where things are ─► objects      │
    instruction ── embeddings ───────► language     ├─ prefix ── SmolLM2 ──► keys and values
    mask ── linear ──────────────────► availability │                          │
    joints ── linear ────────────────► state       ┘                          ▼
    noise ── action expert, a few steps of the flow, each reading the prefix ──► actions

With `encoder: siglip` there is no availability token, and it is SmolVLA (arXiv 2506.01844). Object
tokens are there only where `config.objects` names any.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from multismolvla.embodiment.kinematics import Kinematics
from multismolvla.policy.config import PolicyConfig
from multismolvla.policy.expert import ActionExpert, Plan
from multismolvla.policy.flow_matching import interpolate, target_velocity
from multismolvla.policy.fourm_views import FourMViews
from multismolvla.policy.object_tokens import Estimate, ObjectTokens
from multismolvla.policy.siglip import SiglipViews
from multismolvla.policy.solvers import Velocity, solve
from multismolvla.policy.text import TextModel


@dataclass(frozen=True)
class Prefix:
    """What the action expert reads, the same for every step of the flow.

    Attributes:
        cache: keys and values per layer, each (B, kv_heads, N, head_dim).
        mask: (B, N) bool, tokens that exist.
        end: (B,) rotary position after the last token.
    """

    cache: list[tuple[Tensor, Tensor]]
    mask: Tensor
    end: Tensor


def time_embedding(time: Tensor, width: int, min_period: float, max_period: float) -> Tensor:
    """Sines and cosines (B, width) of the flow time (B,); periods spaced logarithmically."""
    angle = time.double()[:, None] * _frequencies(width, min_period, max_period, time.device)
    return torch.cat((angle.sin(), angle.cos()), dim=1).to(time.dtype)


@functools.cache
def _frequencies(width: int, min_period: float, max_period: float, device: torch.device) -> Tensor:
    """(width / 2,) radians per unit of the flow time. No buffer of the model, whose doubles a
    change of the model's type would round."""
    with torch.inference_mode(False):
        fraction = torch.linspace(0.0, 1.0, width // 2, dtype=torch.float64, device=device)
        return 2.0 * math.pi / (min_period * (max_period / min_period) ** fraction)


class MultiSmolVLA(nn.Module):
    """The model. B samples, S streams, V views, T actions of A channels, H text channels.

    Args:
        kinematics: of the arm; needed with `config.objects`.
    """

    def __init__(self, config: PolicyConfig, kinematics: Kinematics | None = None) -> None:
        super().__init__()
        self.config, self.kinematics = config, kinematics
        width, expert = config.text.hidden_size, config.expert.hidden_size
        self.visual: nn.Module
        if config.encoder == "siglip":
            self.visual = SiglipViews(config)
        else:
            self.visual = FourMViews(config)
            self.availability = nn.Linear(len(config.streams), width)
            if config.objects:
                self.object_tokens = ObjectTokens(config, kinematics)
        self.text = TextModel(config.text)
        self.expert = ActionExpert(config)
        self.state_proj = nn.Linear(config.max_state_dim, width)
        self.action_in_proj = nn.Linear(config.max_action_dim, expert)
        self.action_time_mlp_in = nn.Linear(2 * expert, expert)
        self.action_time_mlp_out = nn.Linear(expert, expert)
        self.action_out_proj = nn.Linear(expert, config.max_action_dim)

    def prefix(
        self,
        frames: Mapping[str, Tensor],
        mask: Tensor,
        language: Tensor,
        language_mask: Tensor,
        state: Tensor,
    ) -> Prefix:
        """Encode all that is known.

        Args:
            frames: stream -> (B, C, H, W) float32, prepared; what a masked stream holds is never
                read, and a stream that the whole batch masks may be absent.
            mask: (B, S) bool in the order of `config.streams`, True = usable.
            language: (B, L) int64 token ids; `language_mask` (B, L) bool is False for padding.
            state: (B, max_state_dim) float32, normalised and padded.
        """
        return self.read(*self.visual(frames, mask), mask, language, language_mask, state)

    def read(
        self,
        views: Tensor,
        present: Tensor,
        mask: Tensor,
        language: Tensor,
        language_mask: Tensor,
        state: Tensor,
        compact: bool = False,
        estimate: Estimate | None = None,
    ) -> Prefix:
        """The part of `prefix` behind the visual encoder: view tokens (B, V, n, H) and (B, V).

        Args:
            compact: leave out the tokens that no sample has; the others keep their positions.
            estimate: what `object_tokens.estimate` gives for these views, where known already.
        """
        estimates = self.config.encoder == "fourm" and bool(self.config.objects)
        if estimates:
            estimate = estimate or self.object_tokens.estimate(
                views, present, state, language, language_mask
            )
        if not self.config.view_tokens:
            views = views[:, :, :0]
        batch, _, per_view, _ = views.shape
        seen = present.repeat_interleave(per_view, dim=1)
        one = mask.new_ones(batch, 1)
        tokens = [views.flatten(1, 2), self.text.embed(language)]
        exists = [seen, language_mask]
        # An empty slot counts too: a lost camera shifts no position. Padding does not count.
        counts = [torch.ones_like(seen), language_mask]
        if self.config.encoder == "fourm":
            if estimates:
                tokens.append(self.object_tokens(estimate, state))
                exists.append(one.expand(tokens[-1].shape[:2]))
                counts.append(exists[-1])
            tokens.append(self.availability(mask.to(views.dtype))[:, None])
            exists.append(one)
            counts.append(one)
        tokens.append(self.state_proj(state)[:, None])
        valid = torch.cat((*exists, one), dim=1)
        counted = torch.cat((*counts, one), dim=1).cumsum(dim=1)
        x = torch.cat(tokens, dim=1)
        if compact:
            some = valid.any(dim=0)
            x, valid, counted = x[:, some], valid[:, some], counted[:, some]
        # All see each other, but only the state sees the state, which comes last.
        attention = valid[:, None, :].repeat(1, valid.shape[1], 1)
        attention[:, :-1, -1] = False
        cache = self.text.prefill(x, attention, counted - 1)
        return Prefix(self.expert.adapt(cache), valid, counted[:, -1])

    def velocity(self, prefix: Prefix, x_t: Tensor, time: Tensor) -> Tensor:
        """Direction of the flow at noisy actions x_t (B, T, A) and time (B,), 1 = pure noise."""
        return self._velocity(prefix.cache, self._plan(prefix, x_t), x_t, time)

    def _plan(self, prefix: Prefix, actions: Tensor) -> Plan:
        dtype = prefix.cache[0][0].dtype
        return self.expert.plan(prefix.mask, prefix.end, actions.shape[1], dtype)

    def _velocity(
        self, cache: list[tuple[Tensor, Tensor]], plan: Plan, x_t: Tensor, time: Tensor
    ) -> Tensor:
        config = self.config.expert
        embedded = time_embedding(time, config.hidden_size, config.min_period, config.max_period)
        actions = self.action_in_proj(x_t)
        x = torch.cat((actions, embedded[:, None].expand_as(actions)), dim=-1)
        x = self.action_time_mlp_out(F.silu(self.action_time_mlp_in(x)))
        return self.action_out_proj(self.expert(x, cache, plan))

    def forward(
        self,
        frames: Mapping[str, Tensor],
        mask: Tensor,
        language: Tensor,
        language_mask: Tensor,
        state: Tensor,
        actions: Tensor,
        noise: Tensor,
        time: Tensor,
    ) -> Tensor:
        """Residual of the velocity (B, T, A), whose square is the flow-matching loss.

        Args:
            actions: (B, T, A) normalised and padded targets; noise like them, from N(0, 1).
            time: (B,) in (0, 1].
        """
        prefix = self.prefix(frames, mask, language, language_mask, state)
        velocity = self.velocity(prefix, interpolate(actions, noise, time), time)
        return velocity - target_velocity(actions, noise)

    def sample(
        self,
        prefix: Prefix,
        noise: Tensor,
        steps: int | None = None,
        solver: str | None = None,
        guide: Callable[[Velocity], Velocity] | None = None,
    ) -> Tensor:
        """Follow the flow from noise (B, T, A) at time 1 to actions at time 0.

        Args:
            steps, solver: `config.denoising_steps` and `config.solver` if not given.
            guide: bends the velocity, for example real-time chunking's.
        """

        plan = self._plan(prefix, noise)

        def velocity(x: Tensor, time: Tensor) -> Tensor:
            return self._velocity(prefix.cache, plan, x, time)

        guided = guide(velocity) if guide else velocity
        config = self.config
        return solve(solver or config.solver, guided, noise, steps or config.denoising_steps)
