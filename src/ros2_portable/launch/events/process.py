"""Events of child processes."""

from typing import Any


class Event:
    """Something that happened; its circumstances are its attributes."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


class ProcessStarted(Event):
    """A process runs: action, name, cmd, cwd, env, pid."""


class ProcessExited(Event):
    """A process has ended: as ProcessStarted, and returncode, negative for a signal."""


class ShutdownProcess(Event):
    """Asks the processes to end whose action fits process_matcher."""


class SignalProcess(Event):
    """Sends signal_number to the processes whose action fits process_matcher."""
