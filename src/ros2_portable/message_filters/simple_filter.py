"""Where filters begin: the callbacks that they all have, and the subscription that feeds them."""

import itertools
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
        self._next_connection = itertools.count()

    def registerCallback(self, cb: Callable[..., None], *args: Any) -> int:
        """Call `cb(*output, *args)` for each output; return the connection's number."""
        connection = next(self._next_connection)
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
        self.node = node
        self.topic = topic
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
