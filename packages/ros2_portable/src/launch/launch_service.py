"""LaunchService: runs launch descriptions until all is done or someone ends it."""

import asyncio
import signal
from collections.abc import Iterable

from .entities import LaunchDescription
from .launch_context import LaunchContext
from .logging import get_logger, log_dir


class LaunchService:
    """Runs launch descriptions in one asyncio loop, in the main thread."""

    def __init__(self, *, argv: Iterable[str] = ()) -> None:
        self.context = LaunchContext(argv=argv)
        self._descriptions: list[LaunchDescription] = []
        self._interrupts = 0
        get_logger().info(f"All log files can be found below {log_dir()}")

    def include_launch_description(self, launch_description: LaunchDescription) -> None:
        """Add a launch description before the service runs."""
        self._descriptions.append(launch_description)

    def run(self) -> int:
        """Visit everything and wait until all is done; return 0, or 1 after an error or SIGTERM."""
        return asyncio.run(self._run())

    async def _run(self) -> int:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self._on_signal, number)
        context = self.context
        context.visit(self._descriptions)
        while context.futures or not context.is_shutdown:
            if context.futures:
                await asyncio.wait(context.futures, return_when=asyncio.FIRST_COMPLETED)
            else:
                context.shutdown("idle")
        return context.return_code

    def _on_signal(self, number: signal.Signals) -> None:
        if number == signal.SIGINT:
            number = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)[min(self._interrupts, 2)]
            again = f" again: {number.name}" if self._interrupts else ""
            get_logger().warning(f"user interrupted with ctrl-c (SIGINT){again}")
            self._interrupts += 1
            self.context.shutdown("ctrl-c (SIGINT)", number)
        else:
            get_logger().error(f"user interrupted with {number.name}, terminating...")
            self.context.return_code = 1
            self.context.shutdown(number.name)
