"""Passes of a replay that nothing had to be replayed for."""

import numpy as np

from multismolvla.embodiment.so101 import SO101
from multismolvla.replay.trace import Plan, Trace
from multismolvla.streams import StreamTable, load_stream_table

TABLE = load_stream_table("config/streams.yaml")
CAMERAS = StreamTable(tuple(TABLE[name] for name in ("rgb", "depth")))
TICK_NS = 20_000_000


def made_up_trace(name="clean", ticks=200, offset=0.0, acting_from=10, **changes):
    """Two cameras in use, joints that swing slowly, a plan of ten points every 50 ticks.

    Args:
        offset: radians, on every command.
        acting_from: the first tick with a command; None for none.
        changes: attributes of the `Trace`.
    """
    ticks_ns = np.arange(ticks, dtype=np.int64) * TICK_NS
    targets = np.sin(np.arange(ticks)[:, None] * 0.02 + np.arange(6)) + offset
    targets[: ticks if acting_from is None else acting_from] = np.nan
    plans = [
        Plan(int(ticks_ns[tick]), ticks_ns[tick : tick + 10], targets[tick : tick + 10])
        for tick in range(acting_from or 0, ticks - 10, 50)
        if acting_from is not None
    ]
    values = {
        "name": name,
        "joints": SO101.joint_names,
        "streams": CAMERAS.names,
        "ticks_ns": ticks_ns,
        "targets": targets,
        "available": np.ones((ticks, 2), bool),
        "acting_from_ns": None if acting_from is None else int(ticks_ns[acting_from]),
        "plans": plans,
        "skews_s": [0.001, 0.002, 0.009],
        "frames": {"rgb": 60, "depth": 30},
        "latencies_s": [0.1, 0.12],
        "queue_s": np.linspace(1.0, 0.4, ticks),
        "task_ticks": ticks,
    }
    return Trace(**(values | changes))


def masked(trace, stream, first, end):
    """Mask a stream from a tick to before another; returns the trace."""
    trace.available[first:end, trace.streams.index(stream)] = False
    return trace
