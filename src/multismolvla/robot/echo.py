"""Adapters that hear themselves: on one wire for both ways, some return what was sent."""

from __future__ import annotations

from collections.abc import Sequence


class EchoFilter:
    """Takes the echo of a request off the front of what is received.

    No answer begins like its request: an acknowledgement is shorter than what it acknowledges, and
    a request to several servos has an id that none of them has. The exception is an answer of two
    bytes that equals the question byte by byte; it is taken for the echo, and asked for again.

    Args:
        sent: the requests as they went over the wire whose echoes may still come, in order.
    """

    def __init__(self, sent: Sequence[bytes]) -> None:
        self._sent = list(sent)
        self._held = b""

    @property
    def pending(self) -> int:
        """Bytes that may be the beginning of an echo."""
        return len(self._held)

    def feed(self, data: bytes) -> bytes:
        """Take bytes, return those that are no echo."""
        self._held += data
        while self._sent:
            if len(self._held) < len(self._sent[0]) and self._sent[0].startswith(self._held):
                return b""
            self._held = self._held.removeprefix(self._sent.pop(0))
        rest, self._held = self._held, b""
        return rest
