"""Damaged files, packets and messages for every reader: ./run fuzz --inputs 1000.

A reader may take an input or refuse it in one line by an error that it documents. A traceback, a
hang or a look outside the input's folder is a finding; it is printed with the smallest input that
shows it.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
import warnings
from collections import Counter

from fuzz_readers import TARGETS
from fuzz_run import fuzz


def main() -> int:
    """Fuzz; return 1 if there is a finding."""
    parser = argparse.ArgumentParser(prog="./run fuzz", description=__doc__)
    parser.add_argument("readers", nargs="*", metavar="READER", help=", ".join(TARGETS))
    parser.add_argument("--inputs", type=int, default=300, help="for each reader (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="the same inputs again (%(default)s)")
    args = parser.parse_args()
    for name in args.readers:
        if name not in TARGETS:
            parser.error(f"unknown reader '{name}'; expected {', '.join(TARGETS)}")
    os.environ["HF_HUB_OFFLINE"] = "1"
    logging.disable(logging.CRITICAL)
    _quiet_libraries()
    warnings.simplefilter("ignore")
    found = 0
    for name in args.readers or TARGETS:
        outcomes: Counter = Counter()
        start = time.monotonic()
        try:
            fuzz(
                TARGETS[name],
                args.inputs,
                args.seed,
                count=lambda said, outcomes=outcomes: outcomes.update([bool(said)]),
            )
            result = "no finding"
        except Exception as finding:
            # Hypothesis wraps what does not come again, such as a hang at the very limit.
            found += 1
            result = f"FINDING: {getattr(finding, 'exceptions', [finding])[0]}"
        took_s = time.monotonic() - start
        counts = f"{outcomes[True]} refused, {outcomes[False]} taken in {took_s:.1f} s"
        print(f"{name}: {counts}; {result}", flush=True)
    return 1 if found else 0


def _quiet_libraries() -> None:
    """Keep this process's stderr to Python: decoders write every complaint there themselves."""
    sys.stderr = os.fdopen(os.dup(2), "w")
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 2)
    os.close(silence)


if __name__ == "__main__":
    sys.exit(main())
