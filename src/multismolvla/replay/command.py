"""Run a recorded bag through the stack again and report the differences.

Cameras and joint states come from the bag, everything behind them is the live code on the bag's
clock, without ROS: the same command gives the same results. The first pass is clean; each scenario
and each fault of the matrix is a pass of its own, compared with what was recorded and with the
clean one.

  multismolvla replay out/bag
  multismolvla replay out/bag --faults config/faults/rgb_loss.yaml
  multismolvla replay out/bag --fault all-rgb:noise rgb:occlusion:5 all-depth:drop
  multismolvla replay bag_of_others --topics rgb=/camera/color/image_raw --task "pick the cube"

<out>/ gets report.md, results.jsonl, timeline.png, severity.png and availability.png.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from multismolvla.argument_types import add_embodiment, add_topics, positive
from multismolvla.data.recording import OBJECTS, TASK, Recording, open_recording
from multismolvla.faults.fault import JOINT_STATES, SEVERITIES
from multismolvla.faults.registry import find_fault
from multismolvla.faults.scenario import Scenario, ScheduledFault
from multismolvla.faults.scenario_file import find_scenarios, load_scenario
from multismolvla.interfaces import Policy
from multismolvla.pose_check.check import find_weights
from multismolvla.replay.one_pass import CachedSegmenter, ReplaySettings, replay
from multismolvla.replay.recorded_stack import observe
from multismolvla.replay.report import Replayed, write_results
from multismolvla.replay.trace import Setpoints, Trace
from multismolvla.sim.tasks import find_task
from multismolvla.stack.command_options import (
    add_config,
    add_pose_check,
    add_streams,
    stream_table_file,
)
from multismolvla.stack.labeller import Segmenter, load_network
from multismolvla.stack.policy_loading import (
    EXPERT,
    committed_s,
    lerobot_options,
    load_policy,
    streams_of,
    with_digest,
)
from multismolvla.stack.settings import load_settings, or_shipped
from multismolvla.streams import StreamTable, load_stream_table

# Of an inference, where nothing was recorded.
LATENCY_S = 0.1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("bag", type=Path, metavar="BAG", help="folder of a bag, or a file of it")
    parser.add_argument(
        "--policy",
        default="small",
        help="name, folder, hub id or module:Class, as policy_node takes it (default: %(default)s)",
    )
    add_embodiment(parser)
    parser.add_argument(
        "--faults",
        nargs="+",
        type=or_shipped,
        default=[],
        metavar="FILE",
        help="scenarios, or folders of them, such as config/faults",
    )
    parser.add_argument(
        "--fault",
        nargs="+",
        default=[],
        metavar="STREAMS:FAULT[:SEVERITY]",
        help="faults of a matrix; without a severity all five",
    )
    parser.add_argument(
        "--fault-start",
        type=float,
        default=1.0,
        metavar="S",
        help="start of these faults, seconds after the policy's first trajectory (default: 1)",
    )
    parser.add_argument(
        "--fault-duration",
        type=_seconds,
        default=None,
        metavar="S",
        help="duration of these faults, seconds (default: to the end)",
    )
    parser.add_argument("--out", type=Path, default=Path("out/replay"), help="%(default)s")
    parser.add_argument(
        "--live",
        type=Path,
        metavar="BAG",
        help="recording of the live stack while this bag was played to it, for comparison",
    )
    where = parser.add_argument_group("topics of the bag")
    where.add_argument(
        "--namespace", default="", metavar="NS", help="namespace of the recorded topics"
    )
    add_topics(where)
    add_config(where)
    add_streams(where)
    where.add_argument("--task", default="", help="instruction that replaces those of the bag")
    where.add_argument(
        "--labels",
        choices=("auto", "recorded", "network"),
        default="auto",
        help="where segmentation comes from (default: the network, unless it was recorded raw)",
    )
    how = parser.add_argument_group("settings of the replay")
    how.add_argument(
        "--latency",
        type=float,
        metavar="S",
        help="duration of an inference (default: the median of the live stack, or of the recorded "
        "one, or 0.1)",
    )
    how.add_argument("--min-visual-streams", type=positive, metavar="N")
    add_pose_check(how, "", "as the recorded stack did")
    how.add_argument("--device", default="cpu", help="where a checkpoint runs: cpu, cuda, auto")


def _seconds(text: str) -> float:
    value = float(text)
    if not value > 0.0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a positive number of seconds")
    return value


def main(args: argparse.Namespace) -> int:
    """Replay a bag and write the report. Exit status 0, or 1 for an error."""
    try:
        replayed = _replay(args)
        summary = write_results(args.out, replayed)
    except (ValueError, OSError) as error:
        print(f"multismolvla replay: {error}", file=sys.stderr)
        return 1
    print("\n".join(summary))
    for name in replayed.source.streams:
        if complaint := replayed.source.complaint(name):
            print(f"{name}: {complaint}")
    return 0


def _replay(args: argparse.Namespace) -> Replayed:
    stack = load_settings(args.config)
    table = load_stream_table(stream_table_file(args.streams, stack))
    if args.min_visual_streams is not None:
        own = replace(stack.policy, min_visual_streams=args.min_visual_streams)
        stack = replace(stack, policy=own)
    scenarios = [load_scenario(file, table, find_task) for file in find_scenarios(args.faults)]
    scenarios += expand(args.fault, table, args.fault_start, args.fault_duration)
    given = dict(args.topics)
    source = open_recording(args.bag, table, args.embodiment, args.namespace, given, args.labels)
    _check(source, args.task, args.policy)
    by_stack = open_recording(args.bag, table, args.embodiment, args.namespace, given, judged=True)
    recorded = observe(by_stack, "recorded", settings=stack.policy)
    live = None
    if args.live is not None:
        scenario = scenarios[0] if len(scenarios) == 1 else None
        live_bag = open_recording(args.live, table, args.embodiment, judged=True)
        live = observe(live_bag, "live", scenario, source.end_ns, stack.policy)
        if live is None:
            raise ValueError(f"{args.live}: has no policy/status, so no live stack was recorded")
    latencies = [args.latency, *(t.median_latency_s for t in (live, recorded) if t is not None)]
    latency_s = next((known for known in latencies if known is not None), LATENCY_S)
    weights = find_weights(args.pose_check or source.pose_check)
    settings = ReplaySettings(args.task, latency_s, stack, weights)
    name = with_digest(args.policy)
    # Without noise: actions differ by what was seen, not by chance.
    policy = load_policy(
        args.policy,
        args.embodiment,
        device=args.device,
        threads=1,
        seed=0,
        committed_s=committed_s(latency_s),
        **lerobot_options(stack.policy),
    )
    streams_of(policy, table, args.policy)
    segmenter = None
    if not source.labels_recorded:
        segmenter = CachedSegmenter(load_network(stack.labeller.model))
    traces = _passes(source, policy, settings, segmenter, scenarios)
    return Replayed(source, name, settings, traces, Setpoints(*source.commands()), recorded, live)


# A matrix of faults from a few words: `rgb:noise`, `all-depth:frozen:5`, `rgb+wrist/rgb:drop`.


def expand(
    texts: list[str], table: StreamTable, start_s: float, duration_s: float | None
) -> list[Scenario]:
    """One scenario for each `STREAMS:FAULT[:SEVERITY]`, or one for each severity of it.

    Args:
        texts: streams as `select_streams` reads them, or `joint_states`.

    Raises:
        ValueError: a stream, fault or severity does not exist, or they do not fit; one line.
    """
    return [
        scenario for text in texts for scenario in _expand_one(text, table, start_s, duration_s)
    ]


def _expand_one(
    text: str, table: StreamTable, start_s: float, duration_s: float | None
) -> list[Scenario]:
    streams, _, rest = text.partition(":")
    name, _, severity = rest.partition(":")
    try:
        if not streams or not name:
            raise ValueError("expected STREAMS:FAULT or STREAMS:FAULT:SEVERITY")
        if severity:
            severities: tuple[int | None, ...] = (_severity(severity),)
        else:
            severities = SEVERITIES if find_fault(name).has_severity() else (None,)
        made = []
        for level in severities:
            fault = ScheduledFault(streams, name, start_s, duration_s, level)
            for stream in fault.streams(table):
                fault.make(stream, table)
            word = name if level is None else f"{name}-{level}"
            made.append(Scenario(f"{streams}:{word}", (fault,)))
    except ValueError as error:
        raise ValueError(f"--fault {text}: {error}") from None
    return made


def _severity(text: str) -> int:
    if not text.isdigit() or int(text) not in SEVERITIES:
        raise ValueError(f"severity is '{text}'; expected 1 to 5")
    return int(text)


def _passes(
    source: Recording,
    policy: Policy,
    settings: ReplaySettings,
    segmenter: Segmenter | None,
    scenarios: Sequence[Scenario],
) -> list[Trace]:
    """The clean pass and one for each scenario."""
    traces: list[Trace] = []
    with tqdm(total=1 + len(scenarios), unit="pass") as bar:
        for scenario in (None, *scenarios):
            bar.set_postfix_str("clean" if scenario is None else scenario.name)
            clean = traces[0] if traces else None
            traces.append(replay(source, policy, settings, segmenter, scenario, clean))
            bar.update()
    return traces


def _check(source: Recording, task: str, policy: str) -> None:
    """Say in one line what the bag lacks that nothing can stand in for."""
    needed: Mapping[str, str] = {
        JOINT_STATES: "name its topic with --topics joint_states=TOPIC",
        **({} if task or source.first_task else {TASK: "give an instruction with --task"}),
        **({OBJECTS: "the expert needs the simulator's poses"} if policy == EXPERT else {}),
    }
    for name, remedy in needed.items():
        if name not in source.topics:
            raise ValueError(f"{source.bag.path}: has no {name}; {remedy}")
