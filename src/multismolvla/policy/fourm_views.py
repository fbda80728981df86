"""MultiSmolVLA's encoder: every stream of every view in one 4M-21, then tokens per view."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from multismolvla.modalities.registry import find_modality
from multismolvla.policy.config import FourMConfig, PolicyConfig
from multismolvla.policy.connector import Connector, fuse
from multismolvla.policy.fourm import FourMBlocks, grid_positions, patches


class ContinuousPatches(nn.Module):
    """One learned linear map for a kind of stream, on patches flattened as 4M-21 flattens RGB.

    Prepared frames (B, C, image_size, image_size) -> tokens (B, grid^2, dim), row by row; position
    and kind are added outside. This is also the place of 4M-21's quantising tokenizers, which name
    each patch by its nearest code and look up that code's embedding.
    """

    def __init__(self, config: FourMConfig, kind: str) -> None:
        super().__init__()
        self.patch_size = config.patch_size
        channels = find_modality(kind).prepared_channels
        self.proj = nn.Linear(channels * config.patch_size**2, config.dim, bias=False)
        nn.init.xavier_uniform_(self.proj.weight)

    def forward(self, frames: Tensor) -> Tensor:
        return self.proj(patches(frames, self.patch_size))


class FourMViews(nn.Module):
    """S streams in, V views out. B samples, N grid positions, T tokens per view, H channels.

        frame of a stream ── patches of its kind + position + kind + view ──► (B, N, dim)
        tokens of all streams in use ── one self-attention ──► (B, U, N, dim)
        mean over the streams of a view ──► (B, N, dim) ── connector ──► (B, T, H)

    With `fusion: early` the streams of a view are added up before the self-attention instead.

    A masked stream has no influence: its pixels are replaced before any arithmetic, its tokens are
    not attended to and are left out of the mean. A stream that the whole batch masks is not
    encoded at all.
    """

    def __init__(self, config: PolicyConfig, norm_target: float = 1.0) -> None:
        super().__init__()
        assert config.fourm is not None
        fourm = config.fourm
        self.streams = config.streams
        self.views = config.views
        self.image_size = fourm.image_size
        self.early = fourm.fusion == "early"
        self.tokens, self.width = config.tokens_per_view, config.text.hidden_size
        grid = fourm.image_size // fourm.patch_size
        kinds = dict.fromkeys(stream.kind for stream in self.streams)
        self.patches = nn.ModuleDict({kind: ContinuousPatches(fourm, kind) for kind in kinds})
        self.kind_embedding = nn.ParameterDict(
            {kind: torch.randn(1, 1, fourm.dim) * 0.02 for kind in kinds}
        )
        self.view_embedding = nn.Parameter(torch.randn(len(self.views), fourm.dim) * 0.02)
        self.register_buffer("pos_emb", grid_positions(grid, fourm.dim))
        self.blocks = FourMBlocks(fourm)
        self.connector = Connector(fourm.dim, grid, self.tokens, self.width, norm_target)

    def forward(self, frames: Mapping[str, Tensor], mask: Tensor) -> tuple[Tensor, Tensor]:
        """Encode what the mask allows.

        Args:
            frames: stream -> (B, C, image_size, image_size) float32, prepared, C channels.
                A stream that the whole batch masks may be absent.
            mask: (B, S) bool in the order of the streams, True = usable.

        Returns:
            Tokens (B, V, T, H), zeros where a view has no stream, and which views have one (B, V).

        Raises:
            ValueError: unknown stream, wrong shape, or no frame for a stream that is not masked.
        """
        self._check(frames, mask)
        used = [i for i, any_sample in enumerate(mask.any(dim=0).tolist()) if any_sample]
        whole = bool(mask[:, used].all())
        return self.encode(frames, used, None if whole else mask[:, used], len(mask))

    def encode(
        self,
        frames: Mapping[str, Tensor],
        used: Sequence[int],
        present: Tensor | None,
        batch: int,
    ) -> tuple[Tensor, Tensor]:
        """`forward` once the streams are chosen: no decision here depends on a tensor's values.

        Args:
            used: streams to encode, as indices in rising order.
            present: (B, len(used)) bool; None = every sample has all of them.
        """
        tokens = self.pos_emb.new_zeros(batch, len(self.views), self.tokens, self.width)
        seen = torch.zeros(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        if not used:
            return tokens, seen
        contents = [
            self._content(frames, index, None if present is None else present[:, column])
            for column, index in enumerate(used)
        ]
        in_view = [self.views.index(self.streams[index].view) for index in used]
        # View -> the columns of its streams.
        columns = {
            v: [c for c, view in enumerate(in_view) if view == v] for v in sorted({*in_view})
        }
        some = (
            None if present is None else {v: present[:, c].any(dim=1) for v, c in columns.items()}
        )
        if self.early:
            grids = self._encode_early(contents, columns, present, some)
        else:
            grids = self._encode_late(contents, in_view, columns, present)
        for v, grid in grids.items():
            made = self.connector(grid)
            if some is not None:
                made = torch.where(some[v][:, None, None], made, 0.0)
            tokens[:, v] = made
            seen[:, v] = True if some is None else some[v]
        return tokens, seen

    def _encode_late(
        self,
        contents: list[Tensor],
        in_view: list[int],
        columns: dict[int, list[int]],
        present: Tensor | None,
    ) -> dict[int, Tensor]:
        """View -> grid (B, N, dim): every stream has tokens of its own, as in 4M."""
        placed = [each + self._place(v) for each, v in zip(contents, in_view, strict=True)]
        grids = self._encode(placed, present)
        return {
            v: fuse(grids[:, c], None if present is None else present[:, c])
            for v, c in columns.items()
        }

    def _encode_early(
        self,
        contents: list[Tensor],
        columns: dict[int, list[int]],
        present: Tensor | None,
        some: dict[int, Tensor] | None,
    ) -> dict[int, Tensor]:
        """View -> grid (B, N, dim): the streams of a view add up to tokens that they share."""
        if present is not None:
            contents = [
                torch.where(present[:, c, None, None], each, 0) for c, each in enumerate(contents)
            ]
        placed = [
            functools.reduce(torch.add, [contents[c] for c in of_view]) + self._place(v)
            for v, of_view in columns.items()
        ]
        grids = self._encode(placed, None if some is None else torch.stack([*some.values()], dim=1))
        return {v: grids[:, i] for i, v in enumerate(columns)}

    def _encode(self, placed: list[Tensor], present: Tensor | None) -> Tensor:
        """Grids (B, N, dim), of which present (B, G) says which there are, to (B, G, N, dim)."""
        positions = self.pos_emb.shape[1]
        keys = None if present is None else present.repeat_interleave(positions, dim=1)
        return self.blocks(torch.cat(placed, dim=1), keys).unflatten(1, (-1, positions))

    def _place(self, view: int) -> Tensor:
        return self.pos_emb + self.view_embedding[view]

    def _content(self, frames: Mapping[str, Tensor], index: int, keep: Tensor | None) -> Tensor:
        """Tokens (B, N, dim) of one stream, without their places; the samples that keep (B,) marks
        False are not read."""
        stream = self.streams[index]
        frame = frames[stream.name]
        if keep is not None:
            # Chosen, not multiplied: NaN times zero is NaN.
            frame = torch.where(keep[:, None, None, None], frame, 0.0)
        return self.patches[stream.kind](frame) + self.kind_embedding[stream.kind]

    def _check(self, frames: Mapping[str, Tensor], mask: Tensor) -> None:
        names = [stream.name for stream in self.streams]
        unknown = sorted(set(frames) - set(names))
        if unknown:
            raise ValueError(f"unknown stream '{unknown[0]}'; the model has {', '.join(names)}")
        if mask.ndim != 2 or mask.shape[1] != len(names):
            raise ValueError(f"mask has shape {tuple(mask.shape)}; expected (B, {len(names)})")
        for i, stream in enumerate(self.streams):
            if stream.name not in frames:
                if mask[:, i].any():
                    raise ValueError(f"stream '{stream.name}' has no frame but is not masked")
                continue
            channels = stream.modality.prepared_channels
            expected = (len(mask), channels, self.image_size, self.image_size)
            if frames[stream.name].shape != expected:
                raise ValueError(
                    f"frame of stream '{stream.name}' has shape "
                    f"{tuple(frames[stream.name].shape)}; expected {expected}"
                )
