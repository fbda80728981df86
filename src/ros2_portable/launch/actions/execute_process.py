"""ExecuteProcess: a child process, its output, its respawning and its end."""

import asyncio
import itertools
import os
import pty
import shlex
from signal import SIGINT, SIGKILL, SIGTERM, Signals
from typing import Any

from ..action import Action
from ..arguments import Text, Truth
from ..event_handlers import EventHandler, OnProcessExit, OnShutdown
from ..events import Event
from ..events.process import ProcessExited, ProcessStarted, ShutdownProcess, SignalProcess
from ..launch_context import LaunchContext
from ..logging import get_logger, output_places, write
from ..process_group import Lines, end_with_parent, group_lives
from ..substitutions import LaunchConfiguration
from ..utilities import normalize_to_list_of_substitutions, perform_substitutions

_numbers = itertools.count(1)
_PREFIX = LaunchConfiguration("launch-prefix", default="")
_SIGTERM_TIMEOUT = LaunchConfiguration("sigterm_timeout", default=5)
_SIGKILL_TIMEOUT = LaunchConfiguration("sigkill_timeout", default=5)


class ExecuteProcess(Action):
    """Runs a command; ends it at shutdown with SIGINT, then SIGTERM, then SIGKILL.

    The process has a session of its own: Ctrl-C reaches it once, through the launch, and signals
    reach the processes that it has started, too.
    """

    process_details: dict[str, Any] | None = None  # name, cmd, cwd, env and pid, once it runs
    return_code: int | None = None
    final_name = ""
    _ending: asyncio.Future | None = None

    def execute(
        self,
        context: LaunchContext,
        *,
        cmd: Any,
        prefix: Text = _PREFIX,
        name: Text = None,
        cwd: Text = None,
        env: dict | None = None,
        additional_env: dict | None = None,
        shell: bool = False,
        sigterm_timeout: Text = _SIGTERM_TIMEOUT,
        sigkill_timeout: Text = _SIGKILL_TIMEOUT,
        emulate_tty: bool = False,
        output: Text = "log",
        output_format: str = "[{this.process_description.final_name}] {line}",
        log_cmd: bool = False,
        on_exit: Any = None,
        respawn: Truth = False,
        respawn_delay: float | None = None,
        respawn_max_retries: int = -1,
    ) -> None:
        def text(subs: Text) -> str:
            return perform_substitutions(context, normalize_to_list_of_substitutions(subs))

        if context.is_shutdown:
            return
        command = [text(part) for part in cmd]
        if self.process_details is not None:
            raise RuntimeError(f"ExecuteProcess action '{self.final_name}' executed more than once")
        self.process_description = self  # where output formats look for final_name
        self.final_name = f"{name or os.path.basename(command[0])}-{next(_numbers)}"
        environment = dict(context.environment if env is None else env) | (additional_env or {})
        self.process_details = {
            "action": self,
            "name": self.final_name,
            "cmd": [*shlex.split(prefix), *command],
            "cwd": cwd,
            "env": {text(key): text(value) for key, value in environment.items()},
        }
        output = os.environ.get("OVERRIDE_LAUNCH_PROCESS_OUTPUT") or output
        self._places = output_places(self.final_name, output)
        self._log = get_logger(self.final_name)
        self._patience = (float(sigterm_timeout), float(sigkill_timeout))
        self._retries = respawn_max_retries if respawn else 0
        self._told_to_end = asyncio.Event()
        self._groups: list[int] = []  # the process's, and what is left of those it replaced
        for handler in (
            OnShutdown(on_shutdown=self._on_shutdown),
            EventHandler(matcher=self._concerned, entities=self._on_process_event),
            OnProcessExit(target_action=self, on_exit=on_exit),
        ):
            context.register_event_handler(handler)
        self.future = context.asyncio_loop.create_task(self._supervise(context))

    def _on_shutdown(self, event: Event, context: LaunchContext) -> None:
        self._told_to_end.set()
        if event.due_to_sigint and self._ending is None:
            self._send(SIGINT)  # What it has left behind: a terminal's Ctrl-C would reach it.

    def _concerned(self, event: Event) -> bool:
        return isinstance(event, ShutdownProcess | SignalProcess) and event.process_matcher(self)

    def _on_process_event(self, event: Event, context: LaunchContext) -> None:
        if isinstance(event, ShutdownProcess):
            self._told_to_end.set()
        else:
            number = event.signal_number
            self._send(Signals[number] if isinstance(number, str) else Signals(number))

    def _send(self, number: Signals) -> None:
        for group in self._groups:
            try:
                os.killpg(group, number)
                self._log.info(f"sending signal '{number.name}' to process[{self.final_name}]")
            except ProcessLookupError:
                continue  # It has ended.

    async def _supervise(self, context: LaunchContext) -> None:
        while await self._run(context) and self._retries:
            self._retries -= 1
            told = asyncio.ensure_future(self._told_to_end.wait())
            await asyncio.wait({told}, timeout=self.respawn_delay or 0)
            told.cancel()
            if self._told_to_end.is_set():
                return

    async def _run(self, context: LaunchContext) -> bool:
        """Run the process to its end; return False if it could not be started."""
        command = " ".join(part for part in self.process_details["cmd"] if part.strip())
        if self.log_cmd:
            self._log.info(f"process details: cmd='{command}', cwd='{self.process_details['cwd']}'")
        # Nobody writes to its standard input: reading it waits, until the launch is gone.
        pipes = [os.pipe(), *((pty.openpty if self.emulate_tty else os.pipe)() for _ in "oe")]
        (stdin, stdin_end), (out, out_end), (err, err_end) = pipes
        start = asyncio.create_subprocess_shell if self.shell else asyncio.create_subprocess_exec
        try:
            process = await start(
                *([command] if self.shell else self.process_details["cmd"]),
                stdin=stdin,
                stdout=out_end,
                stderr=err_end,
                cwd=self.process_details["cwd"],
                env=self.process_details["env"],
                start_new_session=True,
                preexec_fn=end_with_parent,
            )
        except OSError as error:
            self._log.error(f"cannot start the process [cmd '{command}']: {error}")
            for end in (stdin_end, out, err):
                os.close(end)
            return False
        finally:
            for end in (stdin, out_end, err_end):
                os.close(end)
        self._log.info(f"process started with pid [{process.pid}]")
        self.process_details["pid"] = process.pid
        self._groups.append(process.pid)
        context.emit_event_sync(ProcessStarted(**self.process_details))
        self._ending = asyncio.ensure_future(self._end())
        readers = [
            await context.asyncio_loop.connect_read_pipe(
                lambda places=places: Lines(lambda line: self._show(line, places)),
                os.fdopen(end, "rb", 0),
            )
            for end, places in zip((out, err), self._places, strict=True)
        ]
        self.return_code = await process.wait()
        # A process that outlives the one it was started by may hold the pipes.
        await asyncio.wait([lines.closed for _, lines in readers], timeout=1.0)
        while self._told_to_end.is_set() and group_lives(process.pid):
            await asyncio.sleep(0.05)
        self._ending.cancel()
        self._ending = None
        for transport, _ in readers:
            transport.close()
        os.close(stdin_end)
        self._groups = [group for group in self._groups if group_lives(group)]
        if self.return_code == 0:
            self._log.info(f"process has finished cleanly [pid {process.pid}]")
        else:
            self._log.error(
                f"process has died [pid {process.pid}, exit code {self.return_code}, "
                f"cmd '{command}']."
            )
        context.emit_event_sync(ProcessExited(returncode=self.return_code, **self.process_details))
        return True

    def _show(self, line: str, places: list[str]) -> None:
        write(self.output_format.format(line=line, this=self), places)

    async def _end(self) -> None:
        """Once told to, end the process; is cancelled when that has worked."""
        await self._told_to_end.wait()
        for number, harder, patience in zip(
            (SIGINT, SIGTERM), (SIGTERM, SIGKILL), self._patience, strict=True
        ):
            self._send(number)
            await asyncio.sleep(patience)
            self._log.error(
                f"process[{self.final_name}] failed to terminate '{patience:g}' seconds after "
                f"receiving '{number.name}', escalating to '{harder.name}'"
            )
        self._send(SIGKILL)
