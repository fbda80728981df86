"""The policy's speed, memory and actions, beside LeRobot's SmolVLA from PyPI.

    ./run python benchmarks/policy.py

Both sides get the same random weights and inputs, run with the same threads, each in a process of
its own, and compute chunks in turn, so that other load of the machine affects both. Timed is what
both do per chunk: from prepared frames, tokens, state and noise to actions. LeRobot gets an
environment of its own on first use. Writes result.json, table.md and bench_policy.png.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from beside_lerobot import worker as worker_program
from beside_lerobot.environment import LeRobotEnvironmentError, lerobot_python
from beside_lerobot.report import (
    Measurement,
    as_json,
    table,
    write_picture,
)
from beside_lerobot.rows import (
    CAMERAS,
    COMPARISONS,
    START,
    Comparison,
    Row,
    Target,
    comparisons,
    start_worker,
)
from beside_lerobot.worker_process import WorkerError, WorkerProcess
from safetensors.torch import load_file

from multismolvla.argument_types import positive
from multismolvla.policy.fast_linear import is_available, why_not
from multismolvla.processor import read_processor

STARTS = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--threads",
        type=positive,
        default=2,
        metavar="N",
        help="of each side (default: %(default)s)",
    )
    parser.add_argument(
        "--rounds",
        type=positive,
        default=7,
        metavar="N",
        help="chunks per row (default: %(default)s)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("out/bench_policy"),
        metavar="DIR",
        help="results (default: %(default)s)",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=COMPARISONS,
        default=COMPARISONS,
        metavar="NAME",
        help=f"some of: {', '.join(COMPARISONS)}",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--lerobot", type=Path, metavar="PYTHON", help="interpreter with LeRobot")
    which.add_argument("--no-lerobot", action="store_true", help="only the stack's own rows")
    parser.add_argument("--quick", action="store_true", help="tiny models, to see that it works")
    parser.add_argument("--check", action="store_true", help="fail where a target is not met")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the results; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    args = parser.parse_args(argv)
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        # Not in /tmp, which may be in main memory: the weights take a gigabyte.
        work = tempfile.TemporaryDirectory(dir=args.out, prefix="work-")
    except OSError as error:
        print(f"error: --out {args.out}: {error.strerror}; name a folder", file=sys.stderr)
        return 1
    load_before = os.getloadavg()
    with work:
        bench = Bench(args.threads, args.out, _lerobot(args))
        try:
            measured = bench.run(Path(work.name), args.only, args.rounds, args.quick)
        except WorkerError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    rows = [row for _, rows in measured for row in rows]
    processor = read_processor()
    result = {
        "threads": args.threads,
        "rounds": args.rounds,
        "quick": args.quick,
        "processor": processor.name,
        "arithmetic": processor.arithmetic,
        "load_average": {"before": load_before, "after": os.getloadavg()},
        "versions": bench.versions,
        "left_out": bench.left_out,
        "rows": [as_json(row) for row in rows],
    }
    (args.out / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    where = f"{args.threads} thread(s) on {processor}, load {load_before[0]:.1f} before"
    written = table(rows, bench.left_out) + f"\n{where}\n"
    (args.out / "table.md").write_text(written)
    write_picture(args.out / "bench_policy.png", measured, where)
    print(f"\n{written}result.json, table.md and bench_policy.png are in {args.out}")
    missed = sum(met is not True for row in rows for _, _, met in row.verdicts())
    if args.check and (missed or bench.left_out):
        print(
            f"{missed} target(s) not met or not measured, {len(bench.left_out)} row(s) left out",
            file=sys.stderr,
        )
        return 1
    return 0


class Bench:
    """Measures rows in processes with `threads` each.

    Args:
        logs: folder for what the processes print.
        lerobot: interpreter with LeRobot, None to leave it out.
    """

    def __init__(self, threads: int, logs: Path, lerobot: Path | None) -> None:
        self._threads = threads
        self._logs = logs
        self._lerobot = lerobot
        self.versions: dict[str, dict[str, str]] = {}
        # Row -> why it could not be measured.
        self.left_out: dict[str, str] = {}

    def run(
        self, work: Path, names: Sequence[str], rounds: int, quick: bool
    ) -> list[tuple[str, list[Measurement]]]:
        """Measure the comparisons of these names, one after the other.

        Raises:
            WorkerError: a row that every machine can run failed.
        """
        _say("writing random weights and inputs")
        found = comparisons(
            work, names, rounds=rounds, quick=quick, lerobot=self._lerobot is not None
        )
        measured = [(comparison.name, self._compare(comparison)) for comparison in found]
        if START in names:
            measured.append((START, [self._start(start_worker(work), 1 if quick else STARTS)]))
        return measured

    def _compare(self, comparison: Comparison) -> list[Measurement]:
        """One chunk of each row per round, in an order that turns around every time."""
        with contextlib.ExitStack() as stack:
            workers: dict[str, WorkerProcess] = {}
            rows = [row for row in comparison.rows if self._load(row, workers, stack)]
            replies: dict[str, list[dict[str, Any]]] = {row.name: [] for row in rows}
            for number in range(comparison.rounds):
                for row in rows[:: -1 if number % 2 else 1]:
                    worker = workers[json.dumps(row.worker)]
                    replies[row.name].append(worker.ask(str(row.inputs[number % len(row.inputs)])))
                times = ", ".join(
                    f"{row.name} {replies[row.name][-1]['wall_s']:.3f} s" for row in rows
                )
                if comparison.rounds < 20 or number % 10 == 9:
                    _say(f"{comparison.name}: round {number + 1}/{comparison.rounds}: {times}")
        reference = next((row for row in rows if row.worker["side"] == "lerobot"), None)
        return [_measurement(row, replies, reference) for row in rows]

    def _load(
        self, row: Row, workers: dict[str, WorkerProcess], stack: contextlib.ExitStack
    ) -> bool:
        """Start the row's process, unless another row has, and have it warm; False if it fails."""
        key = json.dumps(row.worker)
        precision = row.worker.get("precision", "float32")
        if row.optional and not is_available(precision):
            self.left_out[row.name] = f"not on this processor: {why_not(precision)}"
            _say(f"left out: {row.name}: {self.left_out[row.name]}")
            return False
        try:
            if key not in workers:
                _say(f"loading {row.name}")
                workers[key] = stack.enter_context(self._worker(row.name, row.worker))
                self._ready(row.worker, workers[key])
            # The first chunk pays for what is made once.
            workers[key].ask(str(row.inputs[-1]))
        except WorkerError as error:
            if not row.optional:
                raise
            self.left_out[row.name] = str(error)
            _say(f"left out: {error}")
            return False
        return True

    def _start(self, worker: Mapping[str, Any], times: int) -> Measurement:
        """From a process that does not exist yet to an action."""
        wall_s = []
        for number in range(times):
            started = time.perf_counter()
            with self._worker("start", worker) as process:
                self._ready(worker, process)
                wall_s.append(time.perf_counter() - started)
            _say(f"start {number + 1}/{times}: {wall_s[-1]:.2f} s to the first action")
        target = Target("median_s", 5.0)
        return Measurement("small, process to first action", tuple(wall_s), (target,))

    def _ready(self, worker: Mapping[str, Any], process: WorkerProcess) -> None:
        side = "lerobot" if worker["side"] == "lerobot" else "ours"
        self.versions[side] = process.receive()["versions"]

    def _worker(self, name: str, options: Mapping[str, Any]) -> WorkerProcess:
        environment = {**os.environ, "OMP_NUM_THREADS": str(self._threads)}
        if options["side"] == "lerobot":
            # Isolated from this environment's packages, and silent towards the hub.
            program = [str(self._lerobot), "-I", worker_program.__file__]
            environment["HF_HUB_OFFLINE"] = "1"
        else:
            program = [sys.executable, worker_program.__file__]
        log = self._logs / f"{''.join(c if c.isalnum() else '_' for c in name)}.log"
        arguments = json.dumps({**options, "threads": self._threads})
        return WorkerProcess(name, [*program, arguments], environment, log)


def _measurement(
    row: Row, replies: Mapping[str, list[dict[str, Any]]], reference: Row | None
) -> Measurement:
    own = replies[row.name]
    wall_s = tuple(reply["wall_s"] for reply in own)
    peak = own[-1]["peak_memory_bytes"]
    compared: dict[str, float] = {}
    if reference is not None and row is not reference:
        theirs = replies[reference.name]
        speeds = [a["wall_s"] / b["wall_s"] for a, b in zip(theirs, own, strict=True)]
        compared["speed"] = statistics.median(speeds)
        compared["memory"] = peak / theirs[-1]["peak_memory_bytes"]
        if row.same_model:
            compared |= _differences(row, own, theirs)
    return Measurement(
        row.name,
        wall_s,
        row.targets,
        tuple(reply["processor_s"] for reply in own),
        peak,
        **compared,
    )


def _differences(row: Row, own: list[dict], theirs: list[dict]) -> dict[str, float]:
    """Largest over all inputs that were used."""
    relative, of_flow = [], []
    for path, a, b in zip(row.inputs, own, theirs, strict=False):
        ours, expected = torch.tensor(a["actions"]), torch.tensor(b["actions"])
        apart = (ours - expected).abs().max()
        relative.append(float(apart / expected.abs().max()))
        of_flow.append(float(apart / (expected - load_file(path)["noise"][0]).abs().max()))
    return {"difference": max(relative), "flow_difference": max(of_flow)}


def _lerobot(args: argparse.Namespace) -> Path | None:
    if args.no_lerobot or not set(args.only) & set(CAMERAS):
        return None
    if args.lerobot is not None:
        return args.lerobot
    try:
        return lerobot_python(_say)
    except LeRobotEnvironmentError as error:
        print(f"LeRobot is left out: {error}", file=sys.stderr)
        return None


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
