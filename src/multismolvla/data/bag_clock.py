"""From the time that a recorder noted to the clock that the stamps are on.

Recorders note when a message came, on the system's clock. The stamps of a simulation, or of a bag
that was played, are on another one, which may run slower or faster.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from multismolvla.data import bag_messages as messages
from multismolvla.data.recorded_bag import RecordedBag

CLOCK, CLOCK_TYPE = "/clock", "rosgraph_msgs/msg/Clock"
# Stamps that differ from the recorder's times by more than this come from another clock.
SAME_CLOCK_NS = 500_000_000
# How many images are compared.
SAMPLE = 50


class BagClock:
    """Maps times; without arguments it is the same clock.

    Args:
        logged_ns, clock_ns: (N,) rising: the clock's time at the recorder's time.
        note: for the report, what was found; empty for the same clock.
    """

    def __init__(
        self,
        logged_ns: Sequence[int] = (0,),
        clock_ns: Sequence[int] = (0,),
        note: str = "",
    ) -> None:
        self._logged_ns = np.array(logged_ns, np.int64)
        self._clock_ns = np.array(clock_ns, np.int64)
        self.note = note

    def at(self, logged_ns: int) -> int:
        """The time of the stamps' clock at a time of the recorder's.

        Linear between the known times; beyond the ends both run equally fast.
        """
        known, clock = self._logged_ns, self._clock_ns
        after = int(np.searchsorted(known, logged_ns, side="right"))
        if after == 0 or after == len(known):
            end = max(0, after - 1)
            return int(clock[end] + (logged_ns - known[end]))
        # Python's numbers: the product of two times does not fit into 64 bits.
        start_ns, from_ns = int(known[after - 1]), int(clock[after - 1])
        gain_ns, span_ns = int(clock[after]) - from_ns, int(known[after]) - start_ns
        return from_ns + (int(logged_ns) - start_ns) * gain_ns // span_ns


def find_clock(bag: RecordedBag, images: Collection[str]) -> BagClock:
    """Find out from the stamps of the first images, and `/clock` where it was recorded."""
    ahead_ns = []
    for _, logged_ns, message in messages.decoded(bag, *images):
        stamp_ns = messages.stamp_of(message.header)
        if stamp_ns:
            ahead_ns.append(logged_ns - stamp_ns)
        if len(ahead_ns) == SAMPLE:
            break
    if not ahead_ns or abs(float(np.median(ahead_ns))) < SAME_CLOCK_NS:
        return BagClock()
    logged, clock = [], []
    if CLOCK in bag.topics and bag.topics[CLOCK].type_name == CLOCK_TYPE:
        for _, logged_ns, message in messages.decoded(bag, CLOCK):
            now_ns = message.clock.sec * 10**9 + message.clock.nanosec
            # A clock that was set back is followed as little as a recorder that was.
            if not clock or (logged_ns > logged[-1] and now_ns >= clock[-1]):
                logged.append(logged_ns)
                clock.append(now_ns)
    if len(clock) > 1:
        passed_s, took_s = (clock[-1] - clock[0]) * 1e-9, (logged[-1] - logged[0]) * 1e-9
        sentence = f"times are those of /clock: {passed_s:.1f} s in {took_s:.1f} s"
        return BagClock(logged, clock, sentence)
    # The frame that came soonest came at once.
    shift_ns = min(ahead_ns)
    sentence = (
        f"the recorder's clock is {shift_ns * 1e-9:.3f} s ahead of the stamps'; its times are "
        "shifted back by that"
    )
    return BagClock((shift_ns,), (0,), sentence)
