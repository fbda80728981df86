"""LeRobot in an environment of its own, made once: its requirements and ours exclude each other."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

REQUIREMENTS = Path(__file__).parents[2] / "requirements" / "lerobot.txt"
# PyTorch's own index has the CPU build; PyPI's needs gigabytes of CUDA. `./run` knows the variable.
INDEX_VARIABLE = "MULTISMOLVLA_TORCH_INDEX"
INDEX = "https://download.pytorch.org/whl/cpu"
DONE = "installed"


class LeRobotEnvironmentError(RuntimeError):
    """The environment cannot be made; one line that says why and where the details are."""


def lerobot_python(
    say: Callable[[str], None],
    requirements: Path = REQUIREMENTS,
    cache: Path | None = None,
) -> Path:
    """The interpreter of an environment with exactly the pinned versions; made if there is none.

    Args:
        say: called before steps that take minutes.
        cache: folder of such environments, `~/.cache/multismolvla` by default.

    Raises:
        LeRobotEnvironmentError: no list of versions, no network, or a version that cannot be had.
    """
    try:
        pins = requirements.read_text()
    except OSError as error:
        raise LeRobotEnvironmentError(
            f"{requirements}: {error.strerror}; run from the source tree or name --lerobot PYTHON"
        ) from None
    if cache is None:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        cache = Path(home) / "multismolvla"
    key = hashlib.sha256(f"{sys.version_info[:2]} {pins}".encode()).hexdigest()[:12]
    folder = cache / f"lerobot-{key}"
    python = folder / "bin" / "python"
    # Written last, so that an interrupted attempt starts over.
    if not (folder / DONE).exists():
        say(f"installing LeRobot in {folder} (once; some minutes)")
        _make(folder, python, requirements)
        (folder / DONE).touch()
    return python


def _make(folder: Path, python: Path, requirements: Path) -> None:
    log = folder.with_suffix(".log")
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        # The variables of this environment and of ROS must not lead into the other one.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        pip = [str(python), "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
        commands = (
            [sys.executable, "-m", "venv", str(folder)],
            # With what it needs: PyPI's build does not import without CUDA's libraries.
            [*pip, *_torch_index(), "torch", "--constraint", str(requirements)],
            # LeRobot requires an older torch: unchecked, so that both sides run the same one.
            [*pip, "--no-deps", "--requirement", str(requirements)],
        )
        with log.open("w") as output:
            for command in commands:
                subprocess.run(command, env=environment, stdout=output, stderr=output, check=True)
    except OSError as error:
        raise LeRobotEnvironmentError(f"{error.filename}: {error.strerror}") from None
    except subprocess.CalledProcessError:
        shutil.rmtree(folder, ignore_errors=True)
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines
        reason = errors[-1] if errors else "it failed without a word"
        raise LeRobotEnvironmentError(f"{reason} (see {log})") from None


def _torch_index() -> list[str]:
    index = os.environ.get(INDEX_VARIABLE, INDEX)
    if not index:
        return []
    if INDEX_VARIABLE not in os.environ:
        try:
            urllib.request.urlopen(f"{index}/", timeout=3).close()
        except OSError:
            return []
    return ["--extra-index-url", index]
