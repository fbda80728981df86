"""LaunchService: visits launch descriptions and handles events until all is done."""

import asyncio
import logging
import signal
import threading
import traceback
from collections.abc import Iterable
from typing import Any

from .event_handlers import EventHandler
from .events import Due, Event, Shutdown
from .events.process import SignalProcess
from .launch_context import LaunchContext
from .launch_description import LaunchDescription
from .logging import get_logger, log_dir

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP)


class LaunchService:
    """Runs launch descriptions in one asyncio loop."""

    def __init__(
        self, *, argv: Iterable[str] = (), noninteractive: bool = False, debug: bool = False
    ) -> None:
        self._log = get_logger()
        self._log.setLevel(logging.DEBUG if debug else logging.INFO)
        level = logging.getLevelName(self._log.level)
        self._log.info(f"All log files can be found below {log_dir()}")
        self._log.info(f"Default logging verbosity is set to {level}")
        self.context = LaunchContext(argv=argv, noninteractive=noninteractive)
        visit_due = lambda event, context: event.entities(context)  # noqa: E731
        self.context.register_event_handler(
            EventHandler(matcher=lambda event: isinstance(event, Due), entities=visit_due)
        )
        self._futures: set[asyncio.Future] = set()
        self._return_code = self._interrupts = 0

    def include_launch_description(self, launch_description: LaunchDescription) -> None:
        """Add a launch description, before or while the service runs."""
        self.emit_event(Due(entities=lambda context: launch_description))

    def emit_event(self, event: Event) -> None:
        """Queue an event, from any thread."""
        if self.context.asyncio_loop is None:
            self.context.emit_event_sync(event)
        else:
            self.context.asyncio_loop.call_soon_threadsafe(self.context.emit_event_sync, event)

    def shutdown(self) -> None:
        """End everything; `run` returns once all processes have ended. Callable in any thread."""
        self.emit_event(Shutdown(reason="LaunchService.shutdown() called"))

    def run(self, *, shutdown_when_idle: bool = True) -> int:
        """Visit and handle everything; return 0, or 1 after an error or SIGTERM."""
        return asyncio.run(self.run_async(shutdown_when_idle=shutdown_when_idle))

    async def run_async(self, *, shutdown_when_idle: bool = True) -> int:
        """Like `run`, inside a running loop."""
        loop = self.context.asyncio_loop = asyncio.get_running_loop()
        on_main_thread = threading.current_thread() is threading.main_thread()
        previous = {each: signal.getsignal(each) for each in _SIGNALS if on_main_thread}
        for number in previous:
            loop.add_signal_handler(number, self._on_signal, number)
        try:
            while not self.context.is_shutdown or self._futures or self.context.events:
                await self._step(shutdown_when_idle)
        finally:
            for number, handler in previous.items():
                loop.remove_signal_handler(number)
                signal.signal(number, handler)
            self.context.asyncio_loop = None
        return self._return_code

    async def _step(self, shutdown_when_idle: bool) -> None:
        """Handle what has happened; if nothing has, wait, or shut down if nothing can."""
        self.context.woken.clear()
        for future in [each for each in self._futures if each.done()]:
            self._futures.remove(future)
            if not future.cancelled() and future.exception():
                self._fail(future.exception())
        if self.context.events:
            self._handle(self.context.events.popleft())
        elif not self._futures and shutdown_when_idle:
            self.context.emit_event_sync(Shutdown(reason="idle"))
        else:
            woken = asyncio.ensure_future(self.context.woken.wait())
            await asyncio.wait({woken, *self._futures}, return_when=asyncio.FIRST_COMPLETED)
            woken.cancel()

    def _handle(self, event: Event) -> None:
        if isinstance(event, Shutdown):
            self.context.is_shutdown = True
        for handler in [each for each in self.context.event_handlers if each.matches(event)]:
            outer = self.context.get_locals_as_dict()
            try:
                self._visit(handler.handle(event, self.context))
            except Exception as error:
                self._fail(error)
            vars(self.context.locals).clear()
            self.context.extend_locals(outer)

    def _visit(self, entities: Any) -> None:
        for entity in entities if isinstance(entities, list | tuple) else [entities]:
            if entity is not None:
                inside = entity.visit(self.context)
                if entity.get_asyncio_future() is not None:
                    self._futures.add(entity.get_asyncio_future())
                self._visit(inside)

    def _fail(self, error: BaseException) -> None:
        # A KeyError prints as the representation of its message.
        text = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
        self._log.debug("".join(traceback.format_exception(error)))
        self._log.error(f"Caught exception in launch (see debug for traceback): {text}")
        self._return_code = 1
        self.context.emit_event_sync(Shutdown(reason=f"Caught exception in launch: {text}"))

    def _on_signal(self, number: signal.Signals) -> None:
        event: Event = Shutdown(reason=number.name, due_to_sigint=number == signal.SIGINT)
        if number != signal.SIGINT:
            self._log.error(f"user interrupted with {number.name}, terminating...")
            self._return_code = 1
        elif self._interrupts == 0:
            self._log.warning("user interrupted with ctrl-c (SIGINT)")
        else:
            harder = signal.SIGTERM if self._interrupts == 1 else signal.SIGKILL
            self._log.warning(f"user interrupted with ctrl-c (SIGINT) again: {harder.name}")
            event = SignalProcess(signal_number=harder, process_matcher=lambda action: True)
        self._interrupts += number == signal.SIGINT
        self.context.emit_event_sync(event)
