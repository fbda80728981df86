"""A subscription as the source of a filter chain."""

from typing import Any

from .simple_filter import SimpleFilter


class Subscriber(SimpleFilter):
    """Passes on the messages of a topic.

    `kwargs` go to `Node.create_subscription` (callback_group, event_callbacks, raw, ...). Unknown
    attributes are looked up on the subscription.
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
