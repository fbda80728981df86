"""Subscriptions that exist only while their result has a user."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.subscription import Subscription

from multismolvla.one_line import one_line


def subscribed_to(*publishers: Publisher) -> Callable[[], bool]:
    """Return a function: has one of the publishers subscribers?"""
    return lambda: any(publisher.get_subscription_count() for publisher in publishers)


class OnDemand:
    """Subscribes while it is wanted; a bad message is one line in the log.

    Args:
        is_wanted: whether the result of the messages has a user.
        topics: (type, topic, callback, qos) of each subscription.
        on_start, on_end: called after subscribing and after unsubscribing.
    """

    def __init__(
        self,
        node: Node,
        is_wanted: Callable[[], bool],
        topics: Sequence[tuple[Any, str, Callable, Any]],
        on_start: Callable[[], None] = lambda: None,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        self._node = node
        self._is_wanted = is_wanted
        self._topics = topics
        self._on_start, self._on_end = on_start, on_end
        self._subscriptions: list[Subscription] = []
        self.wanted = False

    def check(self) -> None:
        """Subscribe or unsubscribe if that has changed."""
        wanted = self._is_wanted()
        if wanted == self.wanted:
            return
        self.wanted = wanted
        if wanted:
            self._subscriptions = [
                self._node.create_subscription(kind, topic, self._guarded(topic, callback), qos)
                for kind, topic, callback, qos in self._topics
            ]
            self._on_start()
        else:
            for subscription in self._subscriptions:
                self._node.destroy_subscription(subscription)
            self._subscriptions = []
            self._on_end()

    def _guarded(self, topic: str, callback: Callable[[Any], None]) -> Callable[[Any], None]:
        def on_message(message: Any) -> None:
            try:
                callback(message)
            except Exception as error:  # Whatever is in a message, the others are still to be seen.
                cause = one_line(error)
                self._node.get_logger().warning(
                    f"{topic}: {cause or type(error).__name__}; the message is ignored",
                    throttle_duration_sec=5.0,
                )

        return on_message
