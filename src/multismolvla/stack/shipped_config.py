"""The package's own configuration, in the source tree or where it was installed."""

from __future__ import annotations

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
