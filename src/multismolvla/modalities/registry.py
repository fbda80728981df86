"""All kinds of image by name: those of this package, then those that others add.

A kind of another package is an entry point of the group `multismolvla.modalities`, so that every
process knows it, or is added by `register`.
"""

from __future__ import annotations

import functools
from importlib.metadata import entry_points

from multismolvla.modalities.depth import DEPTH
from multismolvla.modalities.modality import Modality, ModalityError
from multismolvla.modalities.rgb import RGB
from multismolvla.modalities.segmentation import SEGMENTATION
from multismolvla.modalities.thermal import THERMAL
from multismolvla.one_line import one_line

GROUP = "multismolvla.modalities"
# In the order of tables for people; masks and checkpoints have that of the stream table.
OWN = (RGB, DEPTH, THERMAL, SEGMENTATION)
_KNOWN: dict[str, Modality] = {modality.name: modality for modality in OWN}


def register(modality: Modality) -> Modality:
    """Add a kind; once more the same is harmless.

    Raises:
        ModalityError: there is another one of that name.
    """
    if _KNOWN.setdefault(modality.name, modality) is not modality:
        raise ModalityError(f"modality '{modality.name}' is already there; choose another name")
    return modality


def modalities() -> tuple[Modality, ...]:
    """All kinds, those of this package first.

    Raises:
        ModalityError: an entry point cannot be loaded.
    """
    _load_installed()
    return tuple(_KNOWN.values())


def kinds() -> tuple[str, ...]:
    """Their names."""
    return tuple(modality.name for modality in modalities())


def find_modality(name: str) -> Modality:
    """Return the description of a kind.

    Raises:
        ModalityError: there is none of that name, or an entry point cannot be loaded.
    """
    found = _KNOWN.get(name)
    if found is None:
        _load_installed()
        found = _KNOWN.get(name)
    if found is None:
        raise ModalityError(f"kind is '{name}'; expected {', '.join(_KNOWN)}")
    return found


def modality_of(stream: str) -> Modality:
    """Return the kind of a stream by its name: depth for `wrist/depth`.

    Raises:
        ModalityError: the name does not end in a kind.
    """
    try:
        return find_modality(stream.rpartition("/")[2])
    except ModalityError as error:
        raise ModalityError(f"stream '{stream}': {error}") from None


@functools.cache
def _load_installed() -> None:
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            modality = entry.load()
        except Exception as error:  # Whatever another package's code raises.
            reason = f"{type(error).__name__}: {one_line(error)}"
            raise ModalityError(f"entry point '{entry.name}' of {GROUP}: {reason}") from None
        if not isinstance(modality, Modality):
            raise ModalityError(
                f"entry point '{entry.name}' of {GROUP} is {type(modality).__name__}; "
                "expected a Modality"
            )
        register(modality)
