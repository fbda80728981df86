"""A ring buffer of the last messages that can be asked by time."""

import threading
from typing import Any

from rclpy.time import Time

from .simple_filter import SimpleFilter, message_time


class Cache(SimpleFilter):
    """Keeps the last `cache_size` messages, in the order in which they came, and passes them on.

    Messages without a header are dropped, or stored with the ROS time of their arrival where
    `allow_headerless` is set. Questions must use the clock type of the stored stamps: ROS time for
    stamps that come from messages.
    """

    def __init__(self, f: SimpleFilter, cache_size: int = 1, allow_headerless: bool = False):
        super().__init__()
        self.cache_size = cache_size
        self.allow_headerless = allow_headerless
        self.cache_msgs: list[Any] = []
        self.cache_times: list[Time] = []
        self._lock = threading.Lock()
        self.connectInput(f)

    def connectInput(self, f: SimpleFilter) -> None:
        self.incoming_connection = f.registerCallback(self.add)

    def add(self, msg: Any) -> None:
        stamp = message_time(msg, self.allow_headerless, "message_filters_cache")
        if stamp is None:
            return
        with self._lock:
            self.cache_msgs.append(msg)
            self.cache_times.append(stamp)
            if len(self.cache_msgs) > self.cache_size:
                del self.cache_msgs[0], self.cache_times[0]
        self.signalMessage(msg)

    def _entries(self) -> list[tuple[Any, Time]]:
        with self._lock:
            return list(zip(self.cache_msgs, self.cache_times, strict=True))

    def getInterval(self, from_stamp: Time, to_stamp: Time) -> list[Any]:
        """Return the messages stamped within [from_stamp, to_stamp]."""
        assert from_stamp <= to_stamp, f"{from_stamp} is later than {to_stamp}"
        return [msg for msg, stamp in self._entries() if from_stamp <= stamp <= to_stamp]

    def getElemAfterTime(self, stamp: Time) -> Any | None:
        """Return the first message stamped at or after `stamp`, None if there is none."""
        return next((msg for msg, time in self._entries() if time >= stamp), None)

    def getElemBeforeTime(self, stamp: Time) -> Any | None:
        """Return the last message stamped at or before `stamp`, None if there is none."""
        return next((msg for msg, time in reversed(self._entries()) if time <= stamp), None)

    def getLastestTime(self) -> Time | None:
        """Return the stamp of the last message (the name is spelled as in the original)."""
        return next((time for _, time in reversed(self._entries())), None)

    def getOldestTime(self) -> Time | None:
        """Return the stamp of the oldest message."""
        return next((time for _, time in self._entries()), None)

    def getLast(self) -> Any | None:
        """Return the last message."""
        latest = self.getLastestTime()
        return None if latest is None else self.getElemAfterTime(latest)
