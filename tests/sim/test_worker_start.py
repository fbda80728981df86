"""Processes that render beside each other."""

import subprocess
import sys

from patience import HANG_S

PARENT = """
import multiprocessing, os, time
from concurrent.futures import ProcessPoolExecutor
from multismolvla.sim.worker_start import start_worker

pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), start_worker)
print(pool.submit(os.getenv, "LP_NUM_THREADS").result(), flush=True)
busy = pool.submit(time.sleep, 900)
while not busy.running():
    time.sleep(0.01)
print("busy", flush=True)
time.sleep(900)
"""


def test_a_worker_renders_alone_and_ends_with_its_parent():
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    try:
        assert [parent.stdout.readline() for _ in range(2)] == ["0\n", "busy\n"]
    finally:
        parent.kill()
    # The worker has the same output: it ends when both are gone, and not before.
    assert parent.communicate(timeout=HANG_S) == ("", None)
