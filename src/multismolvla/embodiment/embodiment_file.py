"""An arm by its name, or from a YAML file of the fields of `Embodiment`; see docs/embodiment.md."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from multismolvla.checked_file import load_checked
from multismolvla.embodiment.description import (
    ActionSpace,
    Embodiment,
    EmbodimentError,
    Gripper,
    Joint,
)
from multismolvla.embodiment.kinematics import JointChain, Link
from multismolvla.embodiment.panda import PANDA
from multismolvla.embodiment.so101 import SO101

KNOWN = {arm.name: arm for arm in (SO101, PANDA)}


@dataclass(frozen=True)
class _File:
    name: str
    joints: tuple[Joint, ...]
    grippers: tuple[Gripper, ...] = ()
    kinematics: tuple[Link, ...] = ()
    action: ActionSpace | None = None
    state: tuple[str, ...] = ()
    views: tuple[str, ...] = ()


def load_embodiment(source: str | Path) -> Embodiment:
    """Return the arm of that name, or the one that a YAML file describes.

    Raises:
        EmbodimentError: there is none, or the file is wrong: one line that names file, key, value
            and what was expected.
    """
    if str(source) in KNOWN:
        return KNOWN[str(source)]
    path = Path(source).expanduser()
    if path.suffix not in (".yaml", ".yml"):
        raise EmbodimentError(
            f"embodiment is '{source}'; expected {', '.join(KNOWN)} or a .yaml file"
        )
    read = load_checked(path, _File, EmbodimentError, "the embodiment")
    fields = {key.name: getattr(read, key.name) for key in dataclasses.fields(read)}
    chain = JointChain(fields.pop("kinematics"))
    try:
        return Embodiment(**fields, kinematics=chain if chain.links else None)
    except EmbodimentError as error:
        raise EmbodimentError(f"{path}: {error}") from None


def load_joint_arm(source: str | Path) -> Embodiment:
    """`load_embodiment` of an arm that follows targets of its joints.

    Raises:
        EmbodimentError: see there; or its actions are something that no joint trajectory carries.
    """
    arm = load_embodiment(source)
    if not arm.commands_joints:
        raise EmbodimentError(
            f"embodiment is '{source}', whose actions are {arm.action.kind}; "
            "expected an arm that follows joint targets"
        )
    return arm
