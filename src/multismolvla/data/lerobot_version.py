"""Versions of LeRobot's data sets: which is read, and how to get there from another one.

Where LeRobot keeps its converters, by its release tags: `datasets/v30` from 0.4.0 to 0.5.0 and
`scripts` from 0.5.1 on; the one from v2.0 to v2.1 was dropped after 0.3.3. Up to 0.4.4 `--root` is
the folder above `--repo-id`, later the data set itself.
"""

from __future__ import annotations

import importlib.util
import re
from importlib import metadata
from pathlib import Path

from multismolvla.data.lerobot_layout import VERSION
from multismolvla.doctor import Finding, error

_FORM = re.compile(r"v?(\d+)\.(\d+)(\.\d+)*")
_CONVERTERS = ("lerobot.scripts.convert_dataset_v21_to_v30",)
_CONVERTERS += ("lerobot.datasets.v30.convert_dataset_v21_to_v30",)


def check_version(found: object, file: str, folder: Path) -> Finding | None:
    """What is wrong with a `codebase_version`, and what to do; None for the one that is read."""
    key = "codebase_version"
    if found == VERSION:
        return None
    if found is None:
        return error(
            file,
            key,
            f"is missing; expected '{VERSION}'",
            "if LeRobot 0.4 or later wrote the data set, add the key; else fetch it again",
        )
    form = _FORM.fullmatch(str(found)) if isinstance(found, str) else None
    if form is None:
        return error(file, key, f"is {found!r}; expected '{VERSION}'")
    version = int(form[1]), int(form[2])
    if version == (3, 0):
        return None
    what = f"is {found}; expected {VERSION}"
    if version > (3, 0):
        return error(
            file, key, f"{what}, the newest that is read", "use a newer release of multismolvla"
        )
    if version == (2, 1):
        return error(file, key, what, f"convert a copy: {conversion(folder)}")
    older = {
        (2, 0): "to v2.1 with lerobot.datasets.v21.convert_dataset_v20_to_v21",
        (1, 6): "to v2.0 with lerobot.datasets.v2.convert_dataset_v1_to_v2, then to v2.1",
    }.get(version, "to v2.1")
    return error(
        file, key, what, f"convert it {older} of LeRobot 0.3.3, then with LeRobot 0.4 or later"
    )


def conversion(folder: Path) -> str:
    """The command that makes v3.0 of v2.1 with the LeRobot that is installed here."""
    folder = folder.resolve()
    module, version = _installed()
    name = f"{folder.parent.name or 'local'}/{folder.name}"
    if not module:
        return (
            f"python -m {_CONVERTERS[0]} --repo-id={name} --root={folder} --push-to-hub=false "
            f"(LeRobot 0.5.1 or later; it is not installed here. From 0.4.0 to 0.5.0 the module "
            f"is {_CONVERTERS[1]})"
        )
    # Up to 0.4.4 the name is appended to the root.
    root, name = (folder.parent, folder.name) if version < (0, 5) else (folder, name)
    return f"python -m {module} --repo-id={name} --root={root} --push-to-hub=false"


def _installed() -> tuple[str, tuple[int, ...]]:
    """The converter's module and LeRobot's version; "" where there is none."""
    try:
        found = importlib.util.find_spec("lerobot")
        version = metadata.version("lerobot")
    except (ImportError, ValueError, metadata.PackageNotFoundError):
        return "", ()
    # By its file: to ask for the module itself would import LeRobot, and torch with it.
    for place in found.submodule_search_locations or () if found else ():
        for module in _CONVERTERS:
            if Path(place, *module.split(".")[1:]).with_suffix(".py").is_file():
                return module, tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    return "", ()
