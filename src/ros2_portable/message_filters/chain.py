"""Filters one behind the other, handled as one filter."""

from typing import Any

from .simple_filter import SimpleFilter


class Chain(SimpleFilter):
    """Feeds its input through the added filters and puts out what the last one puts out."""

    def __init__(self, message_filter: SimpleFilter | None = None) -> None:
        super().__init__()
        self.incoming_connection: int | None = None
        self._filters: dict[int, SimpleFilter] = {}
        self._output_connection = 0
        if message_filter is not None:
            self.connectInput(message_filter)

    def connectInput(self, message_filter: SimpleFilter) -> None:
        if self.incoming_connection is not None:
            raise RuntimeError("the chain already has an input")
        self.incoming_connection = message_filter.registerCallback(self.add)

    def add(self, message: Any) -> None:
        if self._filters:
            self._filters[0].add(message)
        else:
            self.signalMessage(message)

    def addFilter(self, message_filter: SimpleFilter) -> None:
        """Append a filter; it needs an `add(message)`."""
        index = len(self._filters)
        if index:
            last = self._filters[index - 1]
            last.unregisterCallback(self._output_connection)
            last.registerCallback(message_filter.add)
        self._output_connection = message_filter.registerCallback(self.signalMessage)
        self._filters[index] = message_filter

    def getFilter(self, index: int) -> SimpleFilter:
        """Return the filter added as number `index`; KeyError if there is none."""
        return self._filters[index]
