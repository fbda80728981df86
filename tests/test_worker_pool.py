"""Processes that render beside each other, and their jobs."""

import os
import subprocess
import sys
from collections import deque

import pytest
from patience import HANG_S

from multismolvla.worker_pool import WorkerDied, results

PARENT = """
import multiprocessing, os, time
from concurrent.futures import ProcessPoolExecutor
from multismolvla.worker_pool import start_worker

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


def double_or_die(job):
    if job == "die":
        os._exit(3)
    if job == "raise":
        raise ValueError("no such task")
    return 2 * job


def test_jobs_may_be_added_while_the_results_come():
    jobs, found = deque([1, 2]), []
    for result in results(jobs, double_or_die, workers=2):
        found.append(result)
        if result < 8:
            jobs.append(2 * result)
    assert sorted(found) == [2, 4, 8, 16] and not jobs


def test_a_worker_that_dies_is_told_from_a_job_that_fails():
    with pytest.raises(WorkerDied, match="out of memory"):
        list(results(deque(["die", 1]), double_or_die, workers=1))
    with pytest.raises(ValueError, match="no such task"):
        list(results(deque(["raise"]), double_or_die, workers=1))
