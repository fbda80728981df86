"""Which streams a person means: `rgb`, `rgb+wrist/rgb`, `all-depth`, `all`."""

from __future__ import annotations

from multismolvla.streams import KINDS, StreamTable


def select_streams(text: str, table: StreamTable) -> tuple[str, ...]:
    """Return the streams that are named, in the order of the table.

    Raises:
        ValueError: a kind or a stream does not exist; one line.
    """
    named = set()
    for target in text.split("+"):
        if target == "all":
            named |= set(table.names)
        elif target.startswith("all-"):
            kind = target.removeprefix("all-")
            if kind not in KINDS:
                raise ValueError(f"'{kind}' is no kind; expected {', '.join(KINDS)}")
            named |= {stream.name for stream in table if stream.kind == kind}
        else:
            named.add(table[target].name)
    return tuple(name for name in table.names if name in named)
