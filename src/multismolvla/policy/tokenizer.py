"""Instructions as token ids, by the `tokenizer.json` of a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tokenizers
import torch
from torch import Tensor

from multismolvla.one_line import one_line

FILE_NAME = "tokenizer.json"
# Built by `scripts/make_tokenizer.py`, for models trained from scratch.
SHIPPED_FILE = Path(__file__).parent / "assets" / FILE_NAME
# SmolVLM2's file names no padding; its makers pad with this token, id 2.
SMOLVLM_PADDING = "<|im_end|>"


class TokenizerError(ValueError):
    """The file holds no tokenizer; the message names it and the reason."""


class Tokenizer:
    """Encodes in the caller's thread: the library's own pool would compete with the model's."""

    def __init__(self, content: str, max_tokens: int) -> None:
        """
        Args:
            content: text of a `tokenizer.json`.
            max_tokens: longest instruction, the newline at its end included.

        Raises:
            TokenizerError: `content` is no tokenizer.
        """
        try:
            self._tokenizer = tokenizers.Tokenizer.from_str(content)
        except Exception as error:  # the library raises no narrower class
            reason = one_line(error)[:200]
            raise TokenizerError(f"not a tokenizer: {reason}") from None
        self.content = content
        self.max_tokens = max_tokens
        padding = self._tokenizer.padding
        self.padding_id: int = (
            padding["pad_id"] if padding else self._tokenizer.token_to_id(SMOLVLM_PADDING) or 0
        )
        # Some files ask for these by themselves; a silently shortened instruction is another one.
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    @classmethod
    def load(cls, path: str | Path, max_tokens: int) -> Tokenizer:
        """Read a `tokenizer.json`.

        Raises:
            TokenizerError: the file is missing or damaged.
        """
        try:
            return cls(Path(path).read_text(encoding="utf-8"), max_tokens)
        except OSError as error:
            raise TokenizerError(f"{path}: cannot read it: {error.strerror}") from None
        except UnicodeDecodeError:
            raise TokenizerError(f"{path}: not a tokenizer: not UTF-8 text") from None
        except TokenizerError as error:
            raise TokenizerError(f"{path}: {error}") from None

    @property
    def vocabulary_size(self) -> int:
        """Ids are below this."""
        return max(self._tokenizer.get_vocab().values()) + 1

    def encode(
        self, instructions: Sequence[str], length: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Encode instructions, each with a newline at its end as in SmolVLA's training.

        Args:
            instructions: B texts.
            length: pad to this many tokens; to the longest instruction where None.

        Returns:
            ids (B, L) int64 and a mask (B, L) bool, False where it is padding, on the right.

        Raises:
            ValueError: an instruction is blank, or longer than `max_tokens` or than `length`.
        """
        limit = self.max_tokens if length is None else min(length, self.max_tokens)
        rows = [self._encode(instruction, limit) for instruction in instructions]
        if length is None:
            length = max(map(len, rows), default=0)
        ids = torch.full((len(rows), length), self.padding_id)
        mask = torch.zeros(ids.shape, dtype=torch.bool)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = torch.tensor(row)
            mask[index, : len(row)] = True
        return ids, mask

    def _encode(self, instruction: str, limit: int) -> list[int]:
        if not instruction.strip():
            raise ValueError("the instruction is empty; expected a task for the arm")
        try:
            instruction.encode()
        except UnicodeEncodeError:
            raise ValueError(f"the instruction {instruction!r} is not valid Unicode") from None
        text = instruction if instruction.endswith("\n") else instruction + "\n"
        ids = self._tokenizer.encode(text).ids
        if len(ids) > limit:
            shown = " ".join(instruction.split())[:40]
            raise ValueError(
                f"the instruction '{shown}...' has {len(ids)} tokens; this model reads at most "
                f"{limit}: say it in fewer words"
            )
        return ids
