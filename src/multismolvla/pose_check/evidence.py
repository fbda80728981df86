"""From single pictures, each of which may deceive, to a verdict about their stream."""

from __future__ import annotations


class Evidence:
    """Adds up how far pictures exceed the margin, as Page's cumulative sum test does.

    What a picture says counts no more than `MOST` for and `LEAST` against: no single one decides.
    The sum stays between 0 and 1; a stream contradicts from 1 on, until the sum is 0 again.

    Args:
        margin: logit beyond which a picture speaks against its stream.
    """

    # At 15 Hz a gross misfit is found with the third picture, after 0.2 s, and is over with the
    # fourth good one, so that recovery takes no longer than that of a camera that was unplugged.
    MOST, LEAST = 0.34, 0.25
    # Logit beyond the margin that, of one picture, is worth the whole sum.
    WHOLE = 20.0

    def __init__(self, margin: float) -> None:
        self._margin = margin
        self._sum = 0.0
        self.contradicts = False

    def add(self, logit: float) -> bool:
        """Take in what one picture says; return whether the stream contradicts now."""
        said = (logit - self._margin) / self.WHOLE
        self._sum = min(1.0, max(0.0, self._sum + min(self.MOST, max(-self.LEAST, said))))
        if self._sum in (0.0, 1.0):
            self.contradicts = self._sum == 1.0
        return self.contradicts
