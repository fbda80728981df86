"""Jobs in parallel processes, each prepared to render beside the others."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


class WorkerDied(RuntimeError):
    """A process of the pool ended instead of answering, perhaps out of memory."""


def start_worker() -> None:
    """Prepare a process of a pool, before it makes its first OpenGL context.

    It renders with one thread, since there is a process per core, and ends with its parent.
    """
    os.environ.setdefault("LP_NUM_THREADS", "0")
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    """Leave when the parent is gone, which a killed one cannot ask for."""
    parent.join()
    os._exit(1)


def results(
    jobs: deque[Job],
    work: Callable[[Job], Result],
    workers: int,
    start: Callable[..., None] = start_worker,
    arguments: tuple = (),
    finish: bool = False,
) -> Iterator[Result]:
    """Yield what `work` makes of each job, as they come, in any order.

    Args:
        jobs: emptied; more may be added while the results are taken.
        work: runs in one of `workers` processes; a function of a module, with what it needs.
        start: prepares each process, with `arguments`; calls `start_worker`.
        finish: let running jobs end where the caller stops early, by Ctrl-C for example.

    Raises:
        WorkerDied: a process ended.
        Exception: whatever `work` raises.
    """
    # Forked, the workers would share this process's OpenGL and threads, which neither survives.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(max(1, min(workers, len(jobs))), context, start, arguments)
    running: set[Future[Result]] = set()
    try:
        while jobs or running:
            # A short queue, so that an interruption waits for few jobs.
            while jobs and len(running) < 2 * workers:
                running.add(pool.submit(work, jobs.popleft()))
            done, running = wait(running, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
        finish = True
    except BrokenProcessPool:
        raise WorkerDied("a worker process died (out of memory?)") from None
    finally:
        pool.shutdown(wait=finish, cancel_futures=True)
