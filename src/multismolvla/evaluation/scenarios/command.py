"""Break sensors on a schedule and check how the stack reacts.

Each scenario is a YAML file (docs/failure-testing.md): what breaks when, and how soon the stream
must be masked and used again. The live stack runs without ROS, in simulated time. Exit status 0 if
all expectations were met, else 1; <out>/report.md and junit.xml list those that were not.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from multismolvla.evaluation.episode import run_scenario
from multismolvla.evaluation.outcome import EpisodeKey
from multismolvla.evaluation.scenarios.report import (
    render_junit,
    render_markdown,
    totals,
    write_chart,
)
from multismolvla.evaluation.scenarios.verdict import ScenarioRun
from multismolvla.faults.registry import fault_table
from multismolvla.faults.scenario import Scenario
from multismolvla.faults.scenario_file import find_scenarios, load_scenario
from multismolvla.interfaces import Policy
from multismolvla.pose_check.check import find_weights
from multismolvla.sim.simulation import Simulation
from multismolvla.sim.tasks import find_task
from multismolvla.stack.closed_loop import ClosedLoop
from multismolvla.stack.command_options import (
    add_config,
    add_pose_check,
    add_streams,
    stream_table_file,
)
from multismolvla.stack.policy_loading import (
    committed_s,
    lerobot_options,
    load_policy,
    streams_of,
    with_digest,
    without_digest,
)
from multismolvla.stack.settings import StackSettings, load_settings, or_shipped
from multismolvla.streams import StreamTable, load_stream_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files",
        nargs="*",
        type=or_shipped,
        metavar="FILE",
        help="scenarios, or folders of them (default: the installed ones, config/faults)",
    )
    parser.add_argument(
        "--policy",
        help="name, folder, hub id or module:Class; replaces the policy of the scenarios",
    )
    parser.add_argument(
        "--rate",
        type=float,
        metavar="HZ",
        help="rate of all cameras (default: those of the stream table)",
    )
    add_config(parser)
    add_streams(parser)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("out/scenarios"),
        help="folder of the results (%(default)s)",
    )
    parser.add_argument("--device", default="cpu", help="where a checkpoint runs: cpu, cuda, auto")
    add_pose_check(parser)
    parser.add_argument(
        "--list-faults", action="store_true", help="print every fault with its parameters and end"
    )


def main(args: argparse.Namespace) -> int:
    """Run the scenarios and write the reports. Exit status 0, 1 for a failure or an error."""
    if args.list_faults:
        print("\n".join(fault_table()))
        return 0
    try:
        settings = load_settings(args.config)
        table = _table(args, settings)
        files = find_scenarios(args.files or [settings.file("faults")])
        scenarios = [load_scenario(file, table, find_task) for file in files]
        if args.policy is not None:
            scenarios = [replace(scenario, policy=args.policy) for scenario in scenarios]
        loop = ClosedLoop(table, settings, pose_check=find_weights(args.pose_check))
        runs = _run(loop, scenarios, table, args.device)
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "report.md").write_text(render_markdown(runs))
        (args.out / "junit.xml").write_text(render_junit(runs))
        write_chart(args.out / "timeline.png", runs)
    except (ValueError, OSError) as error:
        print(f"multismolvla scenarios: {error}", file=sys.stderr)
        return 1
    failed = [run.scenario.name for run in runs if run.failures]
    print("\n".join(totals(runs)))
    passed = f"{len(runs) - len(failed)} of {len(runs)} passed"
    print(f"{passed}; in {args.out}: report.md, timeline.png, junit.xml")
    return 1 if failed else 0


def _table(args: argparse.Namespace, settings: StackSettings) -> StreamTable:
    table = load_stream_table(stream_table_file(args.streams, settings))
    if args.rate is None:
        return table
    if not args.rate > 0:
        raise ValueError(f"--rate is {args.rate:g}; expected a positive number")
    return StreamTable(tuple(replace(stream, rate_hz=args.rate) for stream in table))


def _run(
    loop: ClosedLoop, scenarios: Sequence[Scenario], table: StreamTable, device: str
) -> list[ScenarioRun]:
    """Run all of them in one simulator; print failures at once."""
    policies: dict[str, Policy] = {}
    runs = []
    try:
        with tqdm(scenarios, unit="scenario") as bar:
            for scenario in bar:
                bar.set_postfix_str(scenario.name)
                runs.append(_run_one(loop, scenario, table, device, policies))
                for line in runs[-1].failures:
                    bar.write(f"{scenario.name}: {line}")
    finally:
        loop.close()
    return runs


def _run_one(
    loop: ClosedLoop,
    scenario: Scenario,
    table: StreamTable,
    device: str,
    policies: dict[str, Policy],
) -> ScenarioRun:
    started_s = time.monotonic()
    name = with_digest(scenario.policy)
    settings = loop.settings
    key = EpisodeKey(
        name,
        scenario.name,
        scenario.task,
        scenario.seed,
        queue_threshold=settings.policy.queue_threshold,
        chunk_entry=settings.policy.chunk_entry,
    )
    if name not in policies:
        policies[name] = load_policy(
            without_digest(name),
            Simulation.embodiment,
            device=device,
            threads=1,
            seed=0,
            committed_s=committed_s(key.latency_s),
            **lerobot_options(settings.policy),
        )
        streams_of(policies[name], table, scenario.policy)
    outcome, record = run_scenario(loop, policies[name], key, scenario)
    limit_rad_s = settings.driver.max_velocity_rad_s
    return ScenarioRun(scenario, outcome, record, time.monotonic() - started_s, limit_rad_s)
