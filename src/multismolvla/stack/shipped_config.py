"""The package's own configuration, in the source tree or where it was installed."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path


def shipped_config() -> Path:
    """The folder `config`.

    Raises:
        ValueError: the package was installed without it; one line.
    """
    prefixes = [p for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    installed = [Path(prefix) / "share" / "multismolvla" for prefix in (*prefixes, sys.prefix)]
    for folder in (Path(__file__).parents[3], *installed):
        if (folder / "config" / "streams.yaml").is_file():
            return folder / "config"
    raise ValueError(f"no config/streams.yaml in {', '.join(str(folder) for folder in installed)}")


def add_streams(parser: argparse._ActionsContainer) -> None:
    """Declare `--streams`, the stream table of every command, for `stream_table_file`."""
    parser.add_argument(
        "--streams", type=Path, metavar="FILE", help="stream table (default: the installed one)"
    )


def stream_table_file(given: Path | None) -> Path:
    """The file that was given, else the installed one.

    Raises:
        ValueError: as `shipped_config`.
    """
    return shipped_config() / "streams.yaml" if given is None else given
