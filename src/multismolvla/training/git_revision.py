"""Which code it was: what git says of the checkout that this package runs from."""

from __future__ import annotations

import subprocess
from pathlib import Path


def git_says(*arguments: str) -> str:
    """Output of `git arguments...` in this package's folder; `unknown` outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parents[1]), *arguments]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return result.stdout.strip() or "unknown"
