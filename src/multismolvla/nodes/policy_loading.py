"""From the value of the parameter `policy` to an object that can be asked for chunks."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path

from multismolvla.interfaces import Policy
from multismolvla.nodes.parameters import ParameterError
from multismolvla.policy.hub import HUB_ID
from multismolvla.policy.shipped import FOLDERS, shipped_names

GROUP = "multismolvla.policies"


def known_policies() -> list[str]:
    """Names of the policies that installed packages offer, and of the checkpoints shipped here."""
    return sorted({entry.name for entry in entry_points(group=GROUP)}.union(shipped_names()))


def parse_cameras(text: str) -> dict[str, str]:
    """Camera of the checkpoint -> stream, from `camera1=rgb,camera2=wrist/rgb`.

    Raises:
        ParameterError: the text has another form; one line.
    """
    cameras = {}
    for pair in filter(None, map(str.strip, text.split(","))):
        camera, equals, stream = map(str.strip, pair.partition("="))
        if not (camera and equals and stream) or camera in cameras:
            raise ParameterError(
                f"policy_cameras is '{text}'; expected each camera of the checkpoint once, as in "
                "camera1=rgb,camera2=wrist/rgb"
            )
        cameras[camera] = stream
    return cameras


def load_policy(
    name: str,
    *,
    device: str = "auto",
    threads: int | None = None,
    seed: int = -1,
    noise_scale: float = 0.0,
    cameras: Mapping[str, str] | None = None,
    chunking: str = "none",
    now_ns: Callable[[], int] | None = None,
    precision: str = "float32",
) -> Policy:
    """Make the policy that `name` says; what fits several of these is the first.

    - the name of a policy that an installed package offers, such as `expert`;
    - the name of a checkpoint that comes with this package, `small`;
    - the folder of a checkpoint;
    - `module:Class`, for a policy that is not installed;
    - `owner/name` of a checkpoint on the hub.

    Only a checkpoint needs torch and the other arguments.

    Args:
        device: `cpu`, `cuda`, or `auto` for the GPU if there is one.
        threads: of a checkpoint's sums; 0 has its dry run choose, None leaves them to torch.
        seed: of the noise; -1 for new noise at each start.
        noise_scale: of the noise; 1 as in training.
        cameras: camera of a LeRobot checkpoint -> stream.
        chunking: `none`, or `rtc` for chunks that continue one another.
        now_ns: the clock of the observations' stamps, which `rtc` reads.
        precision: of a checkpoint's weights, one of `POLICY_PRECISIONS`, or `auto` to have its dry
            run choose.

    Raises:
        ParameterError: no such policy, or it cannot be made; one line with what to do.
    """
    known = (
        f"known: {', '.join(known_policies()) or 'none'}, the folder of a checkpoint, "
        "a hub id owner/name, or module:Class"
    )
    options = {
        "device": device,
        "threads": threads,
        "seed": None if seed < 0 else seed,
        "noise_scale": noise_scale,
        "cameras": cameras,
        "now_ns": now_ns,
        "precision": precision,
    }
    matches = [entry for entry in entry_points(group=GROUP) if entry.name == name]
    folder = Path(name).expanduser()
    try:
        if matches:
            policy = matches[0].load()()
        elif name in FOLDERS:
            policy = _load_checkpoint(name, chunking, options)
        elif name and folder.is_dir():
            policy = _load_checkpoint(folder, chunking, options)
        elif ":" in name:
            module, _, attribute = name.partition(":")
            policy = getattr(importlib.import_module(module), attribute)()
        elif HUB_ID.fullmatch(name):
            policy = _load_checkpoint(name, chunking, options)
        else:
            policy = None
    except Exception as error:  # A policy is foreign code: whatever it raises ends the start.
        cause = " ".join(str(error).split())
        raise ParameterError(
            f"policy '{name}' cannot be made: {type(error).__name__}: {cause}; {known}"
        ) from error
    if policy is None:
        where = "which is no folder" if "/" in name else "which no installed package offers"
        raise ParameterError(f"policy is '{name}', {where}; {known}")
    for method in ("infer", "reset"):
        if not callable(getattr(policy, method, None)):
            raise ParameterError(
                f"policy '{name}' has no method '{method}'; "
                "expected a class that implements multismolvla.interfaces.Policy"
            )
    return policy


def _load_checkpoint(source: str | Path, chunking: str, options: Mapping) -> Policy:
    # Imports torch, which takes seconds that a policy without a network need not wait.
    from multismolvla.policy.chunk_continuation import WHOLE_OVERLAP
    from multismolvla.policy.learned_policy import LearnedPolicy
    from multismolvla.policy.real_time_chunking import RealTimeChunking

    guidance = RealTimeChunking(horizon=WHOLE_OVERLAP) if chunking == "rtc" else None
    return LearnedPolicy.load(source, chunking=guidance, **options)
