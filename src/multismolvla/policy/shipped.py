"""The trained checkpoints that come with the package, each under the name of its folder.

Light, so that a policy without a network need not wait for torch.
"""

from __future__ import annotations

from pathlib import Path

FOLDERS = {
    "small": Path(__file__).parent / "small",
    "small-libero": Path(__file__).parent / "small_libero",
}
WEIGHTS = "model.safetensors"


class NotShippedError(ValueError):
    """The package was built without these weights; one line with what to do."""


def shipped_folder(name: str | Path) -> Path | None:
    """Folder of the shipped checkpoint called `name`; None where nothing shipped is called that.

    A folder of the same name is meant by a path: `./small`.

    Raises:
        NotShippedError: its weights are not there.
    """
    folder = FOLDERS.get(name)
    if folder is not None and not (folder / WEIGHTS).is_file():
        raise NotShippedError(
            f"the trained weights of '{name}' are not in this copy of the package: {folder} has no "
            f"{WEIGHTS}; train and export them (docs/training.md), or choose another policy, such "
            "as expert"
        )
    return folder


def shipped_names() -> list[str]:
    """Names of the checkpoints whose weights are there."""
    return sorted(name for name, folder in FOLDERS.items() if (folder / WEIGHTS).is_file())
