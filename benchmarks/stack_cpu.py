"""What the running stack costs, and whether it keeps its streams: one or two checkouts in turn.

Brings `bringup.launch.py` up from each checkout, waits for the arm to move, and then measures for
a while: processor time and memory of every process, lines `is lost` in the log, the share of time
that each stream was in use, and the time that the policy held. With two checkouts the rounds go
A B A B, so that the ratio is of one run on one machine.

    ./run python benchmarks/stack_cpu.py                          # this checkout
    ./run python benchmarks/stack_cpu.py --against ../main@3a2033b  # and another, in turn
    ./run python benchmarks/stack_cpu.py --seconds 600 --busy 1   # one processor kept busy
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from node_process import machine, prepare_environment

prepare_environment()

import rclpy  # noqa: E402
from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from trajectory_msgs.msg import JointTrajectory  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
KINDS = ("rgb", "depth", "thermal", "segmentation")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
# After the first motion: what is made once is made, and the garbage of the start is gone.
SETTLE_S = 10.0
START_TIMEOUT_S = 90.0


@dataclass
class Run:
    """One measured stretch of one checkout.

    Attributes:
        start_s: from the launch to the first setpoint.
        cpu: process -> processor seconds per second.
        rss: process -> resident bytes at the end; a page that processes share counts in each.
        lost: lines `is lost` in the log while it was measured.
        available: stream -> share of the time that it was in use.
        holds_s: length of every hold.
        period_ms: of `joint_trajectory` as received, every one.
        stamp_period_ms: the same by the stamps in the messages.
        lag_ms: node -> how late it ran at worst, by its own status.
        overloads: reports of overload that began in the policy's status.
    """

    start_s: float = 0.0
    cpu: dict[str, float] = field(default_factory=dict)
    rss: dict[str, int] = field(default_factory=dict)
    lost: int = 0
    available: dict[str, float] = field(default_factory=dict)
    holds_s: list[float] = field(default_factory=list)
    period_ms: list[float] = field(default_factory=list)
    stamp_period_ms: list[float] = field(default_factory=list)
    lag_ms: dict[str, float] = field(default_factory=dict)
    overloads: int = 0

    def cores(self, *, simulator: bool) -> float:
        """Processor seconds per second of all processes, with or without the simulator's."""
        return sum(c for name, c in self.cpu.items() if simulator or name != "sim_node")


def name_of(pid: int) -> str:
    """The node that a process is, or `ros2 launch`; in a namespace with it before."""
    arguments = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    namespace = next((a.partition(":=")[2] for a in arguments if a.startswith("__ns:=")), "/")
    scripts = [Path(a).name for a in arguments if "/bin/" in a or "/lib/multismolvla/" in a]
    name = next((s for s in reversed(scripts) if not s.startswith("python")), "?")
    return f"{namespace.strip('/')}/{name}".strip("/")


def descendants(pid: int) -> list[int]:
    """Process ids of a process and all that it has started."""
    children = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                children[int(fields[1])].append(int(entry.name))
    found = [pid]
    for parent in found:
        found += children[parent]
    return found


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def rss(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


class Watcher:
    """Follows `policy/status` and `joint_trajectory` in this process."""

    def __init__(self) -> None:
        self.node = rclpy.create_node("stack_cpu")
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.first_setpoint_s: float | None = None
        self.measuring = False
        self.run = Run()
        self._last_status: tuple[float, dict[str, str]] | None = None
        self._last_setpoint_s: float | None = None
        self._last_stamp_ms = 0.0
        self._hold_since_s: float | None = None
        self._used: dict[str, float] = defaultdict(float)
        self._watched_s = 0.0
        self._overloaded = False
        self.node.create_subscription(DiagnosticArray, "policy/status", self._on_status, 10)
        self.node.create_subscription(JointTrajectory, "joint_trajectory", self._on_setpoint, 10)
        streams = [f"{view}{kind}" for view in ("", "wrist/") for kind in KINDS]
        for topic in (*(f"{stream}/status" for stream in streams), "so101_driver/status"):
            self.node.create_subscription(DiagnosticArray, topic, self._on_lag, 10)

    def spin(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.executor.spin_once(timeout_sec=min(left, 0.1))

    def begin(self, run: Run) -> None:
        self.run, self.measuring = run, True
        self._last_status = self._last_setpoint_s = self._hold_since_s = None
        self._used.clear()
        self._watched_s = 0.0

    def end(self) -> None:
        self.measuring = False
        if self._hold_since_s is not None:
            self.run.holds_s.append(time.monotonic() - self._hold_since_s)
        self.run.available = {n: s / self._watched_s for n, s in self._used.items()}

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()

    def _on_lag(self, message: DiagnosticArray) -> None:
        status = message.status[0]
        self._note_lag(status.name, {pair.key: pair.value for pair in status.values})

    def _note_lag(self, name: str, values: dict[str, str]) -> None:
        if self.measuring and "lag_ms" in values:
            lags = self.run.lag_ms
            lags[name] = max(lags.get(name, 0.0), float(values["lag_ms"]))

    def _on_setpoint(self, message: JointTrajectory, info: dict) -> None:
        # When it reached this process; when its interpreter got round to it is not the sender's.
        now = time.monotonic() - (time.time_ns() - info["received_timestamp"]) * 1e-9
        stamp_ms = message.header.stamp.sec * 1e3 + message.header.stamp.nanosec * 1e-6
        if self.measuring and self._last_setpoint_s is not None:
            self.run.stamp_period_ms.append(stamp_ms - self._last_stamp_ms)
        self._last_stamp_ms = stamp_ms
        if self.first_setpoint_s is None:
            self.first_setpoint_s = now
        if self.measuring and self._last_setpoint_s is not None:
            self.run.period_ms.append((now - self._last_setpoint_s) * 1e3)
        self._last_setpoint_s = now

    def _on_status(self, message: DiagnosticArray) -> None:
        if not self.measuring:
            return
        now, values = time.monotonic(), {pair.key: pair.value for pair in message.status[0].values}
        if self._last_status is not None:
            then, before = self._last_status
            self._watched_s += now - then
            for key, value in before.items():
                if key.startswith("mask."):
                    self._used[key.removeprefix("mask.")] += (now - then) * (value == "1")
        if values["mode"] == "hold" and self._hold_since_s is None:
            self._hold_since_s = now
        elif values["mode"] != "hold" and self._hold_since_s is not None:
            self.run.holds_s.append(now - self._hold_since_s)
            self._hold_since_s = None
        self._note_lag("all, as policy_node sees it", values)
        overloaded = bool(values.get("overload"))
        self.run.overloads += overloaded and not self._overloaded
        self._overloaded = overloaded
        self._last_status = now, values


def measure(checkout: Path, arguments: list[str], seconds: float, busy: int, log: Path) -> Run:
    """Bring one checkout up, measure it, and take it down."""
    run = Run()
    watcher = Watcher()
    # Sessions of their own: the kernel may share processors out by sessions (sched_autogroup).
    loops = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True)
        for _ in range(busy)
    ]
    started = time.monotonic()
    # Another checkout has its own environment, of which nothing here may be part.
    kept = ("HOME", "ROS_DOMAIN_ID", "ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOG_DIR", "LANG")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    environment["PATH"] = os.pathsep.join(
        folder
        for folder in os.environ["PATH"].split(os.pathsep)
        if not folder.startswith(sys.prefix)
    )
    launch = subprocess.Popen(
        [checkout / "run", "ros2", "launch", "multismolvla", "bringup.launch.py", *arguments],
        stdout=log.open("w"),
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        cwd=checkout,
        env=environment,
    )
    try:
        while watcher.first_setpoint_s is None:
            if launch.poll() is not None or time.monotonic() > started + START_TIMEOUT_S:
                raise SystemExit(f"{checkout}: the arm did not move; see {log}")
            watcher.spin(0.05)
        run.start_s = watcher.first_setpoint_s - started
        watcher.spin(SETTLE_S)
        size = log.stat().st_size
        watcher.begin(run)
        before = {pid: cpu_s(pid) for pid in descendants(launch.pid)}
        began = time.monotonic()
        watcher.spin(seconds)
        elapsed = time.monotonic() - began
        watcher.end()
        for pid, then in before.items():
            with contextlib.suppress(OSError):
                name = name_of(pid)
                run.cpu[name] = run.cpu.get(name, 0.0) + (cpu_s(pid) - then) / elapsed
                run.rss[name] = run.rss.get(name, 0) + rss(pid)
        with log.open("rb") as file:
            file.seek(size)
            run.lost = len(re.findall(rb"is lost", file.read()))
    finally:
        for loop in loops:
            loop.kill()
        launch.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            launch.wait(20.0)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(launch.pid, signal.SIGKILL)
        launch.wait()
        watcher.close()
    return run


def table(runs: list[Run]) -> str:
    """Medians over the rounds, a line per process."""
    names = sorted({name for run in runs for name in run.cpu})
    lines = ["| process | of a core | resident |", "|---|---|---|"]
    for name in names:
        share = statistics.median(run.cpu.get(name, 0.0) for run in runs)
        size = statistics.median(run.rss.get(name, 0) for run in runs)
        lines.append(f"| `{name}` | {share:.1%} | {size / 2**20:.0f} MiB |")
    total = statistics.median(sum(run.rss.values()) for run in runs)
    lines.append(
        f"| all | {statistics.median(r.cores(simulator=True) for r in runs):.1%}; "
        f"without sim_node {statistics.median(r.cores(simulator=False) for r in runs):.1%} "
        f"| {total / 2**20:.0f} MiB |"
    )
    return "\n".join(lines)


def verdict(runs: list[Run]) -> str:
    """What the streams and the arm did, over all rounds, a line per finding."""
    periods = sorted(period for run in runs for period in run.period_ms)
    within = statistics.mean(abs(period - 20.0) <= 5.0 for period in periods)
    least = {n: min(run.available.get(n, 0.0) for run in runs) for n in runs[0].available}
    worst = min(least, key=least.get) if least else "?"
    holds = [hold for run in runs for hold in run.holds_s]
    lines = (
        f"lines 'is lost': {', '.join(str(run.lost) for run in runs)}",
        f"least available stream: {worst}, {least.get(worst, 0.0):.2%} of the time",
        f"holds: {len(holds)}, longest {max(holds, default=0.0):.2f} s",
        f"overload: reported {sum(run.overloads for run in runs)} times",
        "longest lag of a node: "
        + ", ".join(
            f"{name} {max(run.lag_ms.get(name, 0.0) for run in runs):.0f} ms"
            for name in sorted({name for run in runs for name in run.lag_ms})
        ),
        f"setpoints as received: {within:.2%} within 5 ms of 20 ms, "
        f"99.9 % {periods[-len(periods) // 1000 - 1]:.1f} ms, longest {periods[-1]:.1f} ms",
        f"by their stamps: {_within(runs):.2%} within 5 ms",
        f"launch to first setpoint: {', '.join(f'{run.start_s:.1f}' for run in runs)} s",
    )
    return "\n".join(lines)


def _within(runs: list[Run]) -> float:
    periods = [period for run in runs for period in run.stamp_period_ms]
    return statistics.mean(abs(period - 20.0) <= 5.0 for period in periods)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--against", type=Path, help="another checkout, measured in turn")
    parser.add_argument("--seconds", type=float, default=60.0, help="measured per round")
    parser.add_argument("--rounds", type=int, default=1, help="rounds per checkout")
    parser.add_argument("--busy", type=int, default=0, metavar="N", help="busy loops beside it")
    parser.add_argument("launch", nargs="*", help="launch arguments, such as composition:=nodes")
    arguments = parser.parse_args()
    checkouts = [ROOT, *([arguments.against.resolve()] if arguments.against else [])]
    runs: dict[Path, list[Run]] = defaultdict(list)
    folder = Path(tempfile.mkdtemp(prefix="stack_cpu_"))
    print(f"{machine()}; {arguments.busy} busy loops; logs in {folder}", flush=True)
    rclpy.init(args=[])
    for k in range(arguments.rounds):
        for i, checkout in enumerate(checkouts):
            log = folder / f"{'AB'[i]}{k}.log"
            # Only this checkout knows its own launch arguments.
            extra = arguments.launch if i == 0 else []
            runs[checkout].append(measure(checkout, extra, arguments.seconds, arguments.busy, log))
    rclpy.try_shutdown()
    for checkout in checkouts:
        print(f"\n{checkout}\n{table(runs[checkout])}\n{verdict(runs[checkout])}")
    if arguments.against:
        for simulator in (False, True):
            ratios = [
                a.cores(simulator=simulator) / b.cores(simulator=simulator)
                for a, b in zip(*runs.values(), strict=True)
            ]
            print(
                f"\nprocessor time {'with' if simulator else 'without'} sim_node, ratio: median "
                f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            )
    print(machine())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
