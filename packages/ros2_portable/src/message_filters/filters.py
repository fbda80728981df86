"""The callbacks that all filters have, the subscription that feeds them, and a cache."""

import itertools
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import rclpy.logging
from rclpy.clock import ROSClock
from rclpy.time import Time


class SimpleFilter:
    """Keeps callbacks and calls them, in the order of registration, with each output."""

    def __init__(self) -> None:
        self.callbacks: dict[int, tuple[Callable[..., None], tuple]] = {}
        # Never reused, so that an old connection cannot unregister a newer callback.
        self._connections = itertools.count()

    def registerCallback(self, cb: Callable[..., None], *args: Any) -> int:
        """Call `cb(*output, *args)` for each output; return the connection's number."""
        connection = next(self._connections)
        self.callbacks[connection] = (cb, args)
        return connection

    def unregisterCallback(self, conn: int) -> None:
        """Forget a callback; an unknown connection is ignored."""
        self.callbacks.pop(conn, None)

    def signalMessage(self, *msg: Any) -> None:
        """Hand an output to every callback."""
        # A copy: a callback may register or unregister callbacks.
        for cb, args in tuple(self.callbacks.values()):
            cb(*msg, *args)


class Subscriber(SimpleFilter):
    """Passes on the messages of a topic.

    `kwargs` go to `Node.create_subscription`; unknown attributes are those of the subscription.
    """

    def __init__(
        self, node: Any, msg_type: type, topic: str, qos_profile: Any = 10, **kwargs: Any
    ) -> None:
        super().__init__()
        self.node, self.topic = node, topic
        self.sub = node.create_subscription(msg_type, topic, self.callback, qos_profile, **kwargs)

    def callback(self, msg: Any) -> None:
        self.signalMessage(msg)

    def getTopic(self) -> str:
        """Return the topic name as it was given."""
        return self.topic

    def __getattr__(self, key: str) -> Any:
        if key == "sub":  # Not created yet: do not look for it on itself.
            raise AttributeError(key)
        return getattr(self.sub, key)


def message_time(msg: Any, allow_headerless: bool, logger: str) -> Time | None:
    """Return the header's stamp; without one the ROS time if allowed, else None with a warning."""
    stamp = getattr(getattr(msg, "header", None), "stamp", None)
    if stamp is not None:
        return stamp if hasattr(stamp, "nanoseconds") else Time.from_msg(stamp)
    if allow_headerless:
        return ROSClock().now()
    rclpy.logging.get_logger(logger).warning(
        f"dropped a {type(msg).__name__} without header.stamp: allow_headerless=True would stamp "
        "such messages with the time of their arrival"
    )
    return None


class Cache(SimpleFilter):
    """Keeps the last `cache_size` messages, in the order in which they came, and passes them on.

    Messages without a header are dropped, or stored with the ROS time of their arrival where
    `allow_headerless` is set. Questions must use the clock type of the stored stamps: ROS time for
    stamps that come from messages.
    """

    def __init__(self, f: SimpleFilter, cache_size: int = 1, allow_headerless: bool = False):
        super().__init__()
        self.allow_headerless = allow_headerless
        self._entries: deque[tuple[Time, Any]] = deque(maxlen=cache_size)
        self._lock = threading.Lock()
        self.connectInput(f)

    def connectInput(self, f: SimpleFilter) -> None:
        self.incoming_connection = f.registerCallback(self.add)

    def add(self, msg: Any) -> None:
        stamp = message_time(msg, self.allow_headerless, "message_filters_cache")
        if stamp is not None:
            with self._lock:
                self._entries.append((stamp, msg))
            self.signalMessage(msg)

    def _snapshot(self) -> list[tuple[Time, Any]]:
        with self._lock:
            return list(self._entries)

    def getInterval(self, from_stamp: Time, to_stamp: Time) -> list[Any]:
        """Return the messages stamped within [from_stamp, to_stamp]."""
        assert from_stamp <= to_stamp, f"{from_stamp} is later than {to_stamp}"
        return [msg for stamp, msg in self._snapshot() if from_stamp <= stamp <= to_stamp]

    def getElemAfterTime(self, stamp: Time) -> Any | None:
        """Return the first message stamped at or after `stamp`, None if there is none."""
        return next((msg for time, msg in self._snapshot() if time >= stamp), None)

    def getElemBeforeTime(self, stamp: Time) -> Any | None:
        """Return the last message stamped at or before `stamp`, None if there is none."""
        return next((msg for time, msg in reversed(self._snapshot()) if time <= stamp), None)

    def getLastestTime(self) -> Time | None:
        """Return the stamp of the last message (the name is spelled as in the original)."""
        return next((time for time, _ in reversed(self._snapshot())), None)

    def getOldestTime(self) -> Time | None:
        """Return the stamp of the oldest message."""
        return next((time for time, _ in self._snapshot()), None)

    def getLast(self) -> Any | None:
        """Return the last message."""
        return next((msg for _, msg in reversed(self._snapshot())), None)
