"""Object tokens: the model's estimate of every object's pose, and of the gripper's, as tokens.

A small policy learns last where in the patches an object is. So a query per object attends to each
view and estimates position, heading, whether it is held, and the expected error of the position.
Training compares these numbers with the simulator's poses (`training/policy/auxiliary_heads.py`);
the language model reads them as tokens.

A camera above the table shows positions relative to the base, a camera at the wrist relative to the
gripper. So each view gives estimates in both coordinate frames, each with its own expected error,
and they are averaged by precision: a view that is lost, or sees nothing, has no weight.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from multismolvla.embodiment.kinematics import Kinematics
from multismolvla.policy.config import GRIPPER_POSE, PolicyConfig
from multismolvla.policy.gripper_frame import RELATIVE, seen_from_gripper, to_base

HEADS = 4
# Channels of a word of the instruction.
WORD = 64
# Numbers of an object: position 3, heading 2, held 1, logarithm of the expected error 1. Of the
# gripper: position 3, the joints, holding nothing 1.
OBJECT_NUMBERS, GRIPPER_NUMBERS = 7, 4
# Of an object in a view: in each of two coordinate frames position 3, error 1, heading 2 and the
# weight of the heading; then held 1 and the weight of that.
IN_FRAME = 7
READ = 2 * IN_FRAME + 2
# Headings are angles times the object's symmetry; the model finds out which of these that is.
SYMMETRIES = (2, 4)
# Bounds of the logarithm of the expected error, in units of 0.1 m: 1.8 mm to 0.7 m.
LOG_LEAST, LOG_MOST = -4.0, 2.0


class Estimate(NamedTuple):
    """B samples, n objects.

    Attributes:
        objects: (B, n, 7), gripper: (B, 4 + J); see above. Positions centred, in units of 0.1 m.
        looked: (B, n + 1, V, T) logarithm of each query's attention in each view, the gripper's
            last; of the first head only, for training to point it at the object.
        seen: (B, n + 1, H) other features; None without views.
    """

    objects: Tensor
    gripper: Tensor
    looked: Tensor
    seen: Tensor | None = None


class ObjectTokens(nn.Module):
    """View tokens (B, V, T, H) -> estimate -> tokens (B, n + 1, H)."""

    def __init__(self, config: PolicyConfig, kinematics: Kinematics | None) -> None:
        """
        Raises:
            ValueError: there are no kinematics to place objects with.
        """
        super().__init__()
        if kinematics is None:
            raise ValueError("a model with objects needs the kinematics of its arm")
        self._axis_m, self._centre_m = kinematics.axis_m, kinematics.centre_m
        gripper = GRIPPER_NUMBERS + len(config.joints)
        width, count = config.text.hidden_size, len(config.objects) + 1
        views, state = len(config.views), len(config.joints) + GRIPPER_POSE
        self._state = state
        self.position = nn.Parameter(torch.randn(views, config.tokens_per_view, width) * 0.1)
        self.queries = nn.Parameter(torch.randn(views, count, width) * 0.1)
        if config.instructed:
            # Words of their own: the language model's belong to the action expert's training.
            self.words = nn.Embedding(config.text.vocab_size, WORD)
            self.instruct = nn.Sequential(
                nn.Linear(WORD, width), nn.GELU(), nn.Linear(width, (count - 1) * width)
            )
        self.norm = nn.LayerNorm(width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.pose = nn.Linear(state, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.read_object = nn.Linear(width, READ)
        # Named for the gripper's former name, as in the checkpoints.
        self.read_hand = nn.Linear(width, gripper)
        self.symmetry = nn.Parameter(torch.zeros(count - 1, len(SYMMETRIES)))
        self.write_object = nn.Sequential(
            nn.Linear(OBJECT_NUMBERS + RELATIVE, width), nn.GELU(), nn.Linear(width, width)
        )
        self.write_hand = nn.Sequential(
            nn.Linear(gripper, width), nn.GELU(), nn.Linear(width, width)
        )
        # From zero, so that an action expert that was trained without an encoder is not disturbed.
        self.write_seen = nn.Linear(width, width)
        nn.init.zeros_(self.write_seen.weight)
        nn.init.zeros_(self.write_seen.bias)
        self.name = nn.Parameter(torch.randn(count, width) * 0.5)

    def estimate(
        self,
        views: Tensor,
        present: Tensor,
        state: Tensor,
        language: Tensor | None = None,
        language_mask: Tensor | None = None,
    ) -> Estimate:
        """Estimate from the views (B, V, T, H) that are present, (B, V) bool.

        Args:
            state: (B, max_state_dim) with the gripper's pose, see `Normalizer.normalize_state`.
            language, language_mask: (B, L) the instruction; needed with `config.instructed`, not
                read without.
        """
        width = views.shape[-1]
        queries = self._queries(language, language_mask)
        state = state[:, : self._state]
        # Chosen, not multiplied: NaN times zero is NaN.
        views = torch.where(present[:, :, None, None], views, 0.0)
        tokens = self.norm(views) + self.position
        key, value = self.key_value(tokens).chunk(2, dim=-1)
        key, value = (x.unflatten(-1, (HEADS, -1)).transpose(2, 3) for x in (key, value))
        query = queries.unflatten(-1, (HEADS, -1)).transpose(-3, -2)
        scores = query @ key.transpose(-1, -2) * (width / HEADS) ** -0.5
        looked = scores.log_softmax(dim=-1)
        found = (looked.exp() @ value).transpose(2, 3).flatten(3)
        # (B, V, n + 1, H)
        answers = queries + self.out(found) + self.pose(state)[:, None, None]
        answers = answers + self.mlp(answers)
        # Without any view all have a weight: the numbers mean nothing then, but must be finite.
        usable = present | ~present.any(dim=1, keepdim=True)
        objects, say = self._fuse(self.read_object(answers[:, :, :-1]), usable, state)
        equal = (usable / usable.sum(dim=1, keepdim=True))[:, :, None, None]
        say = torch.cat((say, equal.to(say.dtype)), dim=2)
        seen = (say * answers).sum(dim=1)
        return Estimate(objects, self.read_hand(seen[:, -1]), looked[:, :, 0].transpose(1, 2), seen)

    def _queries(self, language: Tensor | None, language_mask: Tensor | None) -> Tensor:
        """The queries ([B, ]V, n + 1, H), which the instruction changes where it says what they
        look for. The gripper's is always the same."""
        if not hasattr(self, "words"):
            return self.queries
        if language is None or language_mask is None:
            raise ValueError("these object tokens need the instruction")
        there = language_mask[..., None].to(self.queries.dtype)
        meant = (self.words(language) * there).sum(dim=1) / there.sum(dim=1).clamp_min(1.0)
        change = self.instruct(meant).unflatten(-1, (-1, self.queries.shape[-1]))
        return self.queries + functional.pad(change, (0, 0, 0, 1))[:, None]

    def _fuse(self, read: Tensor, usable: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """One estimate (B, n, 7) from those of the views (B, V, n, READ), and their weights."""
        read = read.float()
        pose = state[:, -GRIPPER_POSE:].float()
        usable = usable[:, :, None, None]
        # (B, V, 2, n, IN_FRAME): in the base's and in the gripper's coordinate frame.
        answers = read[..., :-2].unflatten(-1, (2, IN_FRAME)).transpose(2, 3)
        here, at_gripper = answers.unbind(dim=2)
        moved = to_base(at_gripper[..., :3].flatten(1, 2), pose).unflatten(1, at_gripper.shape[1:3])
        places = torch.stack((here[..., :3], moved), dim=2)
        turned = self._turned(at_gripper[..., 4:6], pose)
        headings = torch.stack((here[..., 4:6], turned), dim=2)
        # Precisions add up over views and frames.
        precision = -2.0 * answers[..., 3].clamp(LOG_LEAST, LOG_MOST)
        precision = precision.masked_fill(~usable, -torch.inf)
        total = precision.flatten(1, 2).logsumexp(dim=1)
        place = ((precision - total[:, None, None]).exp()[..., None] * places).sum(dim=(1, 2))
        say = answers[..., 6].masked_fill(~usable, -torch.inf)
        say = (say - say.flatten(1, 2).logsumexp(dim=1)[:, None, None]).exp()
        heading = (say[..., None] * headings).sum(dim=(1, 2))
        say = read[..., -1:].masked_fill(~usable, -torch.inf).softmax(dim=1)
        held = (say * read[..., -2:-1]).sum(dim=1)
        unsure = (-0.5 * total).clamp(LOG_LEAST, LOG_MOST)
        return torch.cat((place, heading, held, unsure[..., None]), dim=-1), say

    def _turned(self, headings: Tensor, pose: Tensor) -> Tensor:
        """Headings (B, V, n, 2) relative to the gripper's closing direction, in base_link."""
        yaw = torch.atan2(pose[:, 3 + 5], pose[:, 3 + 2])[:, None, None]
        share = self.symmetry.softmax(dim=-1)
        turned = torch.zeros_like(headings)
        for column, symmetry in enumerate(SYMMETRIES):
            cosine, sine = (symmetry * yaw).cos(), (symmetry * yaw).sin()
            x, y = headings.unbind(dim=-1)
            there = torch.stack((x * cosine - y * sine, y * cosine + x * sine), dim=-1)
            turned = turned + share[:, column, None] * there
        return turned

    def forward(self, estimate: Estimate, state: Tensor) -> Tensor:
        """The tokens of an estimate."""
        objects = estimate.objects
        pose = state[:, : self._state][:, -GRIPPER_POSE:]
        relative = seen_from_gripper(
            objects[..., :3], objects[..., 3:5], pose, self._axis_m, self._centre_m
        )
        tokens = self.write_object(torch.cat((objects, relative), dim=-1))
        gripper = self.write_hand(estimate.gripper)[:, None]
        tokens = torch.cat((tokens, gripper), dim=1) + self.name
        return tokens if estimate.seen is None else tokens + self.write_seen(estimate.seen)
