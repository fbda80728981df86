"""Pass a message on only where one of its fields has changed."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from .simple_filter import SimpleFilter


class ComparisonHandler:
    """Decides whether a message is passed on."""

    def message_fits(self, message: Any) -> bool:
        raise NotImplementedError(f"{type(self).__name__} needs a message_fits")

    def do_fields_fit(self, field_a: Any, field_b: Any) -> bool:
        raise NotImplementedError(f"{type(self).__name__} needs a do_fields_fit")


class CachedComparisonHandler(ComparisonHandler):
    """Compares fields with those of the last accepted message; the first one is accepted."""

    def __init__(self, field_getters: Sequence[Callable[[Any], Any]] = ()) -> None:
        self._field_getters = field_getters
        self._message_cache: Any = None

    def message_fits(self, message: Any) -> bool:
        last = self._message_cache
        fits = last is None or any(
            self.do_fields_fit(field(last), field(message)) for field in self._field_getters
        )
        if fits:
            self._message_cache = message
        return fits


class DeltaCompare(CachedComparisonHandler):
    """Accepts a message in which any field differs; fields are bool, int, float or str."""

    def do_fields_fit(self, field_a: Any, field_b: Any) -> bool:
        for field in (field_a, field_b):
            if not isinstance(field, bool | int | float | str):
                raise TypeError(f"cannot compare a {type(field).__name__}: use a plain field")
        return field_a != field_b


class ComparisonFilter(SimpleFilter):
    """Passes on the messages that its comparison handler accepts."""

    def __init__(
        self,
        comparison_handler: ComparisonHandler,
        message_filter: SimpleFilter | None = None,
    ) -> None:
        super().__init__()
        self._comparison_handler = comparison_handler
        self.incoming_connection: int | None = None
        self.connectInput(message_filter)

    def connectInput(self, message_filter: SimpleFilter | None) -> None:
        if self.incoming_connection is not None:
            raise RuntimeError("the filter already has an input")
        if message_filter is not None:
            self.incoming_connection = message_filter.registerCallback(self.add)

    def add(self, message: Any) -> None:
        if self._comparison_handler.message_fits(message):
            self.signalMessage(message)


class DeltaFilter(ComparisonFilter):
    """Passes a message on when any of the values that `field_getters` return has changed."""

    def __init__(
        self,
        field_getters: Sequence[Callable[[Any], Any]],
        message_filter: SimpleFilter | None = None,
    ) -> None:
        super().__init__(DeltaCompare(field_getters), message_filter)


class PathDeltaFilter(DeltaFilter):
    """DeltaFilter with the fields given as dotted paths, such as `header.frame_id`."""

    def __init__(
        self, field_path_list: Sequence[str], message_filter: SimpleFilter | None = None
    ) -> None:
        getters = [partial(self.get_field_by_path, field_path=path) for path in field_path_list]
        super().__init__(getters, message_filter)

    def get_field_by_path(self, message: Any, field_path: str) -> Any:
        value = message
        for name in field_path.split("."):
            if not hasattr(value, name):
                raise RuntimeError(f"{type(value).__name__} has no field {name!r} ({field_path})")
            value = getattr(value, name)
        return value
