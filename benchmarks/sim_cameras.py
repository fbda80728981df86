"""How many full observations per second the simulated cameras give, alone and with the physics.

    ./run python benchmarks/sim_cameras.py

A full observation is one frame of every stream of config/streams.yaml. With the physics, 1/15 s is
simulated between two observations, and the real-time factor says how much is left for the rest.
"""

import argparse
import os
import time
from pathlib import Path

import mujoco

from multismolvla.sim.cameras import Cameras
from multismolvla.sim.simulation import Simulation
from multismolvla.streams import load_stream_table

PERIOD_S = 1 / 15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--observations", type=int, default=300)
    count = parser.parse_args().observations

    table = load_stream_table(Path(__file__).parents[1] / "config" / "streams.yaml")
    simulation = Simulation(seed=0)
    cameras = Cameras(simulation.model, table)
    data = mujoco.MjData(simulation.model)

    def observe() -> None:
        simulation.snapshot(data)
        cameras.render(data, table.names, simulation.time_s)

    def observe_and_advance() -> None:
        simulation.advance(PERIOD_S)
        observe()

    observe()
    print(f"load {os.getloadavg()[0]:.2f}, {os.cpu_count()} processors, {len(table)} streams")
    for name, step in (("cameras alone", observe), ("with physics", observe_and_advance)):
        start = time.perf_counter()
        for _ in range(count):
            step()
        rate_hz = count / (time.perf_counter() - start)
        factor = f", real-time factor {rate_hz * PERIOD_S:.1f}" if step is not observe else ""
        print(f"{name}: {rate_hz:.0f} observations/s{factor}")
    print(f"load {os.getloadavg()[0]:.2f}")
    cameras.close()


if __name__ == "__main__":
    main()
