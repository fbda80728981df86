"""ExecuteProcess: a child process, its output, its respawning and its end."""

import asyncio
import contextlib
import ctypes
import itertools
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from signal import SIGINT, SIGKILL, SIGTERM, Signals
from typing import Any

from .conditions import is_true
from .entities import Action
from .event_handlers import ProcessExited, ProcessStarted
from .launch_context import LaunchContext
from .logging import OUTPUTS, get_logger, write
from .substitutions import LaunchConfiguration, Text, as_text

_libc = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LONGEST_LINE = 2**24  # bytes
_SIGTERM_TIMEOUT = LaunchConfiguration("sigterm_timeout", default=5)
_SIGKILL_TIMEOUT = LaunchConfiguration("sigkill_timeout", default=5)
_numbers = itertools.count(1)


@dataclass(eq=False)
class ExecuteProcess(Action):
    """Runs a command; ends it at shutdown with SIGINT, then SIGTERM, then SIGKILL.

    The process has a session of its own: Ctrl-C reaches it once, through the launch, and signals
    reach the processes that it has started, too.
    """

    _: KW_ONLY
    cmd: Iterable[Text]
    name: Text | None = None
    cwd: Text | None = None
    additional_env: Mapping[Text, Text] = field(default_factory=dict)
    sigterm_timeout: Text = _SIGTERM_TIMEOUT
    sigkill_timeout: Text = _SIGKILL_TIMEOUT
    output: Text = "log"
    on_exit: Any = None
    respawn: Text | bool = False
    respawn_delay: float | None = None
    respawn_max_retries: int = -1
    # Known when it has been visited: action, name, cmd, cwd, env, and pid once it runs.
    process_details: dict[str, Any] | None = field(default=None, init=False)
    return_code: int | None = field(default=None, init=False)

    def execute(self, context: LaunchContext) -> None:
        if context.is_shutdown:
            return
        if self.process_details is not None:
            name = self.process_details["name"]
            raise RuntimeError(f"ExecuteProcess action '{name}' executed more than once")
        command = [as_text(context, part) for part in self.cmd]
        name = os.path.basename(command[0]) if self.name is None else as_text(context, self.name)
        name = f"{name}-{next(_numbers)}"
        more = {as_text(context, k): as_text(context, v) for k, v in self.additional_env.items()}
        self.process_details = {
            "action": self,
            "name": name,
            "cmd": command,
            "cwd": None if self.cwd is None else as_text(context, self.cwd),
            "env": dict(context.environment) | more,
        }
        output = as_text(context, self.output)
        if output not in OUTPUTS:
            raise ValueError(f"output is '{output}'; expected one of {', '.join(OUTPUTS)}")
        self._places = OUTPUTS[output]
        self._log = get_logger(name)
        timeouts = (self.sigterm_timeout, self.sigkill_timeout)
        self._patience = [float(as_text(context, timeout)) for timeout in timeouts]
        self._retries = self.respawn_max_retries if is_true(context, self.respawn) else 0
        self._told_to_end = asyncio.Event()
        self._ending: asyncio.Future | None = None
        self._groups: list[int] = []  # the process's, and what is left of those it replaced
        context.enders.append(self._on_shutdown)
        self.future = asyncio.ensure_future(self._supervise(context))

    def _on_shutdown(self, number: Signals | None) -> None:
        self._told_to_end.set()
        # A first Ctrl-C is the beginning of the end; to what an ended process has left behind it
        # is sent at once, as a terminal would.
        if number is not None and (number != SIGINT or self._ending is None):
            self._send(number)

    def _send(self, number: Signals) -> None:
        for group in self._groups:
            with contextlib.suppress(ProcessLookupError):  # It has ended.
                os.killpg(group, number)
                name = self.process_details["name"]
                self._log.info(f"sending signal '{number.name}' to process[{name}]")

    async def _supervise(self, context: LaunchContext) -> None:
        while await self._run(context) and self._retries and not self._told_to_end.is_set():
            self._retries -= 1
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._told_to_end.wait(), self.respawn_delay or 0)
                return

    async def _run(self, context: LaunchContext) -> bool:
        """Run the process to its end; return False if it could not be started."""
        details = self.process_details
        command = " ".join(details["cmd"])
        # Pipes of its own: asyncio's would keep it waiting for what holds them after the process.
        pipes = [os.pipe(), os.pipe()]
        try:
            process = await asyncio.create_subprocess_exec(
                *details["cmd"],
                stdin=asyncio.subprocess.DEVNULL,
                stdout=pipes[0][1],
                stderr=pipes[1][1],
                cwd=details["cwd"],
                env=details["env"],
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
        except OSError as error:
            self._log.error(f"cannot start the process [cmd '{command}']: {error}")
            for readable, _ in pipes:
                os.close(readable)
            return False
        finally:
            for _, writable in pipes:
                os.close(writable)
        self._log.info(f"process started with pid [{process.pid}]")
        details["pid"] = process.pid
        self._groups.append(process.pid)
        context.emit(ProcessStarted(**details))
        self._ending = asyncio.ensure_future(self._end())
        readers = [
            asyncio.ensure_future(self._show(readable, places))
            for (readable, _), places in zip(pipes, self._places, strict=True)
        ]
        self.return_code = await process.wait()
        # A process that outlives the one it was started by may hold the pipes.
        await asyncio.wait(readers, timeout=1.0)
        while self._told_to_end.is_set() and _group_lives(process.pid):
            await asyncio.sleep(0.05)
        for task in (*readers, self._ending):
            task.cancel()
        self._ending = None
        self._groups = [group for group in self._groups if _group_lives(group)]
        if self.return_code == 0:
            self._log.info(f"process has finished cleanly [pid {process.pid}]")
        else:
            ending = f"[pid {process.pid}, exit code {self.return_code}, cmd '{command}']"
            self._log.error(f"process has died {ending}.")
        event = ProcessExited(returncode=self.return_code, **details)
        context.visit(self.on_exit, event)
        context.emit(event)
        return True

    async def _show(self, pipe: int, places: Sequence[str]) -> None:
        reader = asyncio.StreamReader(limit=_LONGEST_LINE)
        protocol = asyncio.StreamReaderProtocol(reader)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(lambda: protocol, os.fdopen(pipe, "rb", 0))
        with contextlib.closing(transport):
            async for line in reader:
                text = line.decode(errors="replace").rstrip("\r\n")
                write(f"[{self.process_details['name']}] {text}", places)

    async def _end(self) -> None:
        """Once told to, end the process; is cancelled when that has worked."""
        await self._told_to_end.wait()
        steps = zip((SIGINT, SIGTERM), (SIGTERM, SIGKILL), self._patience, strict=True)
        for number, harder, patience in steps:
            self._send(number)
            await asyncio.sleep(patience)
            self._log.error(
                f"process[{self.process_details['name']}] failed to terminate '{patience:g}' "
                f"seconds after receiving '{number.name}', escalating to '{harder.name}'"
            )
        self._send(SIGKILL)


def _end_with_parent() -> None:
    """In a child, before it runs its program: ask for SIGTERM should the parent be killed."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, SIGTERM)


def _group_lives(group: int) -> bool:
    """Return whether a process group has members other than zombies."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # It ended meanwhile.
            state, _, member_of = stat.read_text().rpartition(")")[2].split()[:3]
            if int(member_of) == group and state != "Z":
                return True
    return False
