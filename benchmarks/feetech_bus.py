"""Latency of the servo bus over the pseudo-terminal: sync-reads of six servos at a fixed rate.

    ./run python benchmarks/feetech_bus.py  # emulator in a process of its own
    ./run python benchmarks/feetech_bus.py --simulator  # ... that simulates and renders as well
    ./run python benchmarks/feetech_bus.py --wire-time  # ... with the time of a 1 Mbaud wire
    ./run python benchmarks/feetech_bus.py --normal-priority  # without real-time priority

Prints the achieved rate, latencies and the load of the machine.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from multismolvla.priority import raise_priority
from multismolvla.robot.bus import FeetechBus
from multismolvla.robot.emulator import EmulatedBus
from multismolvla.robot.first_order_plant import FirstOrderPlant
from multismolvla.robot.so101 import STATE_ADDRESS, STATE_BYTES

IDS = range(1, 7)
STREAMS = Path(__file__).parents[1] / "config" / "streams.yaml"


def serve(port: str, options: argparse.Namespace, ready, done) -> None:
    """Offer an emulated arm until `done`, alone or beside physics and cameras as in sim_node."""
    threads = []
    plant = FirstOrderPlant()
    if options.simulator:
        from multismolvla.sim.simulation import Simulation

        simulation = Simulation()
        plant = simulation.servos
        threads = [
            threading.Thread(target=simulate, args=(simulation, done), daemon=True),
            threading.Thread(target=render, args=(simulation, done), daemon=True),
        ]
    realtime = not options.normal_priority
    with EmulatedBus(plant, link=port, wire_time=options.wire_time, realtime=realtime):
        for thread in threads:
            thread.start()
        ready.set()
        done.wait()
        for thread in threads:
            thread.join()


def simulate(simulation, done) -> None:
    """Physics at real time in slices of 5 ms."""
    due = time.monotonic()
    while not done.is_set():
        simulation.advance(0.005)
        due += 0.005
        time.sleep(max(0.0, due - time.monotonic()))


def render(simulation, done) -> None:
    """All cameras of the stream table at 15 Hz."""
    import mujoco

    from multismolvla.sim.cameras import Cameras
    from multismolvla.streams import load_stream_table

    table = load_stream_table(STREAMS)
    cameras = Cameras(simulation.model, table)
    data = mujoco.MjData(simulation.model)
    due = time.monotonic()
    while not done.is_set():
        simulation.snapshot(data)
        cameras.render(data, table.names, simulation.time_s)
        due = max(due + 1 / 15, time.monotonic())
        time.sleep(max(0.0, due - time.monotonic()))
    cameras.close()


def measure(port: str, rate_hz: float, seconds: float) -> tuple[np.ndarray, float, int]:
    """Return the latencies in milliseconds, the achieved rate in hertz and the requests retried."""
    latencies = []
    with FeetechBus(port, timeout_s=1.0) as bus:
        bus.sync_read(IDS, STATE_ADDRESS, STATE_BYTES)
        started = due = time.monotonic()
        while time.monotonic() - started < seconds:
            before = time.perf_counter()
            bus.sync_read(IDS, STATE_ADDRESS, STATE_BYTES)
            latencies.append(1e3 * (time.perf_counter() - before))
            due += 1 / rate_hz
            time.sleep(max(0.0, due - time.monotonic()))
        return np.array(latencies), len(latencies) / (time.monotonic() - started), bus.retried


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--simulator", action="store_true", help="physics and cameras beside it")
    parser.add_argument("--wire-time", action="store_true", help="emulate the 1 Mbaud wire")
    parser.add_argument(
        "--normal-priority", action="store_true", help="without the driver's real-time priority"
    )
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    with tempfile.TemporaryDirectory() as folder:
        port = os.path.join(folder, "so101")
        process = context.Process(target=serve, args=(port, options, ready, done))
        process.start()
        try:
            if not ready.wait(60.0):
                print("error: the emulated arm did not start within 60 s", file=sys.stderr)
                return 1
            realtime = not options.normal_priority and raise_priority()
            latencies, rate_hz, retried = measure(port, options.rate, options.seconds)
        finally:
            done.set()
            process.join()
    median, p99, p999 = np.percentile(latencies, [50, 99, 99.9])
    print(
        f"{len(latencies)} sync-reads of {len(IDS)} servos at {rate_hz:.1f} Hz "
        f"(wanted {options.rate:.0f}): median {median:.2f} ms, 99th percentile {p99:.2f} ms, "
        f"99.9th {p999:.2f} ms, longest {latencies.max():.2f} ms, {retried} retried; "
        f"{'real-time' if realtime else 'normal'} priority, "
        f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
