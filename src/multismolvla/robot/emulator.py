"""An emulated servo bus: six servos behind a pseudo-terminal, for the simulator and for tests."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
import tty
from collections.abc import Iterable
from pathlib import Path

from multismolvla.priority import raise_priority
from multismolvla.robot import protocol
from multismolvla.robot.calibration import Calibration
from multismolvla.robot.protocol import PacketParser
from multismolvla.robot.servos import EmulatedServos, Plant

# 1 Mbaud, ten bits a byte.
WIRE_S_PER_BYTE = 10e-6


class EmulatedBus:
    """Serves `EmulatedServos` on a pseudo-terminal in a thread of its own, until closed.

    Args:
        plant: the mechanics.
        ids: ids on the bus; 1 to 6 when None.
        link: path of a symbolic link to the pseudo-terminal, for a port name that stays the same
            when the emulator is started again; replaced if it exists, removed on close.
        calibration: how the servos are mounted; the simulated arm's when None.
        wire_time: answer only after the time that the bytes take on a wire at 1 Mbaud.
        torque_on: start with the servos holding the plant's goals, as an earlier driver leaves
            them; otherwise limp, as after power-up.
        realtime: serve with real-time priority where the system grants it.

    Attributes:
        port: path for the driver to open: the link if there is one.
        servos: the emulated servos, for tests.
        echo: return every request before its answers, as some adapters do.
    """

    echo = False

    def __init__(
        self,
        plant: Plant,
        ids: Iterable[int] | None = None,
        link: str | Path | None = None,
        calibration: Calibration | None = None,
        wire_time: bool = False,
        torque_on: bool = False,
        realtime: bool = True,
    ) -> None:
        self.servos = EmulatedServos(plant, calibration, ids)
        if torque_on:
            self.servos.hold()
        self._link = Path(link) if link else None
        self._wire_time = wire_time
        self._realtime = realtime
        self._corrupt = 0
        self._corrupt_requests = 0
        self._halve = 0
        self._repeat = 0
        self._thread: threading.Thread | None = None
        self.port = ""
        self.plug_in()

    def plug_in(self) -> None:
        """Offer the port; a new pseudo-terminal after `unplug`, behind the same link."""
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        # Kept open here, so that the port outlives drivers that come and go.
        terminal = os.ttyname(self._slave)
        if self._link:
            self._link.parent.mkdir(parents=True, exist_ok=True)
            draft = self._link.with_name(f"{self._link.name}.{os.getpid()}")
            draft.unlink(missing_ok=True)
            draft.symlink_to(terminal)
            draft.replace(self._link)
        self.port = str(self._link or terminal)
        self._terminal = terminal
        self._wake_read, self._wake_write = os.pipe()
        self._thread = threading.Thread(target=self._serve, name="servo_bus", daemon=True)
        self._thread.start()

    def unplug(self) -> None:
        """Take the port away, as if the adapter's cable was pulled. Servos keep their state."""
        if self._thread is None:
            return
        os.write(self._wake_write, b"x")
        self._thread.join()
        self._thread = None
        if self._link and self._link.is_symlink() and os.readlink(self._link) == self._terminal:
            self._link.unlink()
        for descriptor in (self._master, self._slave, self._wake_read, self._wake_write):
            os.close(descriptor)

    def close(self) -> None:
        """Stop serving and remove the port."""
        self.unplug()

    def __enter__(self) -> EmulatedBus:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def drop(self, joint: int) -> None:
        """Silence the servo of a joint (index), as if its cable was pulled: it loses power."""
        self.servos.silent.add(joint)
        self.servos.power_cycle(joint)

    def restore(self, joint: int) -> None:
        """Let a dropped servo answer again; its torque is off, as after any power-up."""
        self.servos.silent.discard(joint)

    def corrupt(self, answers: int) -> None:
        """Damage one byte in each of the next answers."""
        self._corrupt = answers

    def corrupt_requests(self, requests: int) -> None:
        """Damage one byte in each of the next requests, so that no servo understands them."""
        self._corrupt_requests = requests

    def repeat(self, answers: int) -> None:
        """Send each of the next answers twice."""
        self._repeat = answers

    def halve(self, answers: int) -> None:
        """Send only the first half of each of the next answers."""
        self._halve = answers

    def _serve(self) -> None:
        # Servos have processors of their own, and do not wait for this one.
        if self._realtime:
            raise_priority()
        parser = PacketParser()
        while True:
            ready, _, _ = select.select([self._master, self._wake_read], [], [])
            if self._wake_read in ready:
                return
            try:
                data = os.read(self._master, 4096)
            except OSError:
                continue
            started = time.monotonic()
            answer = b""
            for request in parser.feed(data):
                if self.echo:
                    answer += protocol.encode(request)
                if self._corrupt_requests:
                    self._corrupt_requests -= 1
                    continue
                for packet in self.servos.answer(request):
                    answer += self._damaged(protocol.encode(packet))
            if self._wire_time:
                due = started + (len(data) + len(answer)) * WIRE_S_PER_BYTE
                time.sleep(max(0.0, due - time.monotonic()))
            # A port without a reader fills up; what does not fit is lost, as on a wire.
            with contextlib.suppress(BlockingIOError):
                os.write(self._master, answer)

    def _damaged(self, answer: bytes) -> bytes:
        if self._corrupt:
            self._corrupt -= 1
            return answer[:-1] + bytes([answer[-1] ^ 0x55])
        if self._repeat:
            self._repeat -= 1
            return answer + answer
        if self._halve:
            self._halve -= 1
            return answer[: len(answer) // 2]
        return answer
