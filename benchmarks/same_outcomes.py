"""Whether two checkouts run the same episodes to the same ends, line by line.

    ./run python benchmarks/same_outcomes.py --against ../before

runs `multismolvla evaluate` in this checkout and in the other one, in turn, and compares their
`outcomes.jsonl`. Episodes are deterministic on one machine, so that a change which only moves code
leaves every line as it was. The other checkout needs its own environment (`./run true` there).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
DIFFERENCES_SHOWN = 5


def evaluate(checkout: Path, out: Path, options: list[str]) -> dict[tuple, dict]:
    """Run the episodes in a checkout; return the outcomes by what identifies the episode."""
    command = [str(checkout / "run"), "multismolvla", "evaluate", "--no-clips", "--out", str(out)]
    subprocess.run([*command, *options], cwd=checkout, check=True)
    lines = [json.loads(line) for line in (out / "outcomes.jsonl").read_text().splitlines()]
    return {(line["policy"], line["condition"], line["task"], line["seed"]): line for line in lines}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--against", type=Path, required=True, help="the other checkout")
    parser.add_argument("--out", type=Path, default=Path("out/same_outcomes"))
    parser.add_argument("--episodes-per-task", type=int, default=20, help="of 12 tasks (20)")
    parser.add_argument("--conditions", nargs="+", default=["clean", "drop:all-rgb@mid"])
    parser.add_argument("--policies", nargs="+", default=["small"])
    parser.add_argument("--segmentation", default="network", help="who labels (network)")
    args = parser.parse_args()
    options = ["--episodes-per-task", str(args.episodes_per_task)]
    options += ["--conditions", *args.conditions, "--policies", *args.policies]
    options += ["--segmentation", args.segmentation]
    out = args.out.resolve()
    ours = evaluate(HERE, out / "here", options)
    theirs = evaluate(args.against.resolve(), out / "against", options)
    different = [key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)]
    for key in sorted(different)[:DIFFERENCES_SHOWN]:
        print(f"{key}\n  here:    {ours.get(key)}\n  against: {theirs.get(key)}")
    print(f"{len(ours)} episodes here, {len(theirs)} there; {len(different)} differ")
    return 1 if different or not ours else 0


if __name__ == "__main__":
    sys.exit(main())
