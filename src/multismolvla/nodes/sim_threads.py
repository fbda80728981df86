"""Physics and cameras of a simulated robot, each in its own thread, at the pace of real time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

import mujoco
from rclpy.node import Node

from multismolvla.sim.cameras import Cameras
from multismolvla.sim.offscreen import RenderingError
from multismolvla.sim.simulation import Simulation

# Physics advances in slices of this length, so that the servo bus sees fresh positions.
SLICE_S = 0.005
# Time the machine could not keep up with is given up rather than rushed through.
MAX_LAG_S = 0.1
END_S = 5.0


class Owner(Protocol):
    """What the threads call, each from its own thread."""

    def on_slice(self) -> None:
        """Physics has advanced."""
        ...

    def on_shot(self, data: mujoco.MjData) -> None:
        """The cameras are triggered; `data` is room for a snapshot."""
        ...

    def on_lag(self, lag_s: float) -> None:
        """A thread runs so late, seconds; negative while it waits."""
        ...


class SimulationThreads:
    """Runs a simulation until it is closed.

    Args:
        node: logs, and ends where a thread fails.
        period_s: of the cameras, simulated seconds.
        factor: simulated seconds per second.

    Attributes:
        physics, cameras: the threads.
        half_rate: trigger the cameras half as often.
    """

    def __init__(
        self,
        node: Node,
        owner: Owner,
        simulation: Simulation,
        cameras: Cameras,
        period_s: float,
        factor: float,
    ) -> None:
        self._node, self._owner = node, owner
        self._simulation, self._cameras = simulation, cameras
        self._period_s, self._factor = period_s, factor
        self.half_rate = False
        self._stop = threading.Event()
        self.physics, self.cameras = (
            threading.Thread(target=self._guard, args=(work,), name=name, daemon=True)
            for name, work in (("physics", self._run_physics), ("cameras", self._run_cameras))
        )

    def start(self) -> None:
        """Begin."""
        for thread in (self.physics, self.cameras):
            thread.start()

    def close(self) -> None:
        """End both threads; the cameras are closed by theirs."""
        self._stop.set()
        for thread in (self.physics, self.cameras):
            thread.join(timeout=END_S)

    def _guard(self, work: Callable[[], None]) -> None:
        """Run a thread's work; half a robot must not live on in silence."""
        try:
            work()
        except RenderingError as error:
            # Another start would fail as well. The arm works, and its cameras count as dead.
            self._node.get_logger().fatal(f"no camera gives frames: {error}")
        except Exception as error:  # Whatever it is, a new process is what helps.
            if self._stop.is_set() or not self._node.context.ok():
                return
            self._node.get_logger().fatal(
                f"the simulation failed ({type(error).__name__}: {error}); the node ends and "
                "is restarted"
            )
            self._node.context.try_shutdown()

    def _run_physics(self) -> None:
        due = time.monotonic()
        lagging = False
        while not self._stop.is_set():
            self._simulation.advance(SLICE_S)
            self._owner.on_slice()
            due += SLICE_S / self._factor
            wait_s = due - time.monotonic()
            self._owner.on_lag(-wait_s)
            if wait_s > 0:
                time.sleep(wait_s)
            elif wait_s < -MAX_LAG_S:
                due = time.monotonic()
                if not lagging:
                    self._node.get_logger().warning("the machine is too slow: simulated time lags")
                lagging = True
            else:
                lagging = False

    def _run_cameras(self) -> None:
        data = mujoco.MjData(self._simulation.model)
        due = time.monotonic()
        try:
            while not self._stop.wait(max(0.0, due - time.monotonic())):
                self._owner.on_lag(time.monotonic() - due)
                step_s = self._period_s / self._factor * (2 if self.half_rate else 1)
                due = max(due + step_s, time.monotonic())
                self._owner.on_shot(data)
        finally:
            self._cameras.close()
