"""From the name of a policy to the policy: the same names for every node and command."""

from __future__ import annotations

import hashlib
import importlib
import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from multismolvla.embodiment.description import Embodiment
from multismolvla.embodiment.lerobot_units import NORMALIZED
from multismolvla.interfaces import Policy
from multismolvla.one_line import one_line
from multismolvla.policy.examples import FILE_NAME as EXAMPLES
from multismolvla.policy.hub import HUB_ID, download
from multismolvla.policy.shipped import FOLDERS, shipped_folder, shipped_names
from multismolvla.robot.calibration import load_calibration
from multismolvla.sim.expert_policy import COMMITTED_S
from multismolvla.stack.settings import PolicySettings
from multismolvla.streams import StreamTable

GROUP = "multismolvla.policies"
EXPERT, SMALL = "expert", "small"
# LIBERO's, which is no policy for a robot: it reads the simulator that it acts in.
TEACHER = "teacher"
# How old a set of frames may be when it is taken: a camera period and the path to the policy.
OBSERVATION_AGE_S = 0.1

Factory = Callable[..., Policy]


def known_policies() -> list[str]:
    """Names of the policies that installed packages offer, and of the checkpoints shipped here."""
    return sorted({entry.name for entry in entry_points(group=GROUP)}.union(shipped_names()))


def parse_cameras(text: str) -> dict[str, str]:
    """Camera of the checkpoint -> stream, from `camera1=rgb,camera2=wrist/rgb`.

    Raises:
        ValueError: the text has another form; one line.
    """
    cameras = {}
    for pair in filter(None, map(str.strip, text.split(","))):
        camera, equals, stream = map(str.strip, pair.partition("="))
        if not (camera and equals and stream) or camera in cameras:
            raise ValueError(
                f"policy_cameras is '{text}'; expected each camera of the checkpoint once, as in "
                "camera1=rgb,camera2=wrist/rgb"
            )
        cameras[camera] = stream
    return cameras


def lerobot_options(settings: PolicySettings) -> dict[str, Any]:
    """Of `load_policy`: how a checkpoint of LeRobot is read, for every command alike.

    Raises:
        ValueError: `policy_cameras` is not what `parse_cameras` takes.
    """
    return {
        "cameras": parse_cameras(settings.policy_cameras),
        "units": settings.policy_units,
        "statistics": settings.policy_statistics,
        "calibration": settings.policy_calibration,
    }


def find_policy(name: str) -> Factory | Path:
    """The class of a policy, or the folder of a checkpoint; what fits several is the first.

    - the name of a policy that an installed package offers, such as `expert`;
    - the name of a checkpoint that comes with this package, `small`;
    - the folder of a checkpoint;
    - `module:Class`, for a policy that is not installed;
    - `owner/name` of a checkpoint on the hub, which is fetched.

    Raises:
        ValueError: there is no such policy; one line.
    """
    folder = Path(name).expanduser()
    try:
        for entry in entry_points(group=GROUP):
            if entry.name == name:
                return entry.load()
        if name in FOLDERS:
            return shipped_folder(name)
        if name and folder.is_dir():
            return folder
        if ":" in name:
            module, _, attribute = name.partition(":")
            return getattr(importlib.import_module(module), attribute)
        if HUB_ID.fullmatch(name):
            return download(name)
    except Exception as error:  # A policy is foreign code: importing it may raise anything.
        raise _cannot_be_made(name, error) from error
    where = "which is not a folder" if "/" in name else "which no installed package offers"
    raise ValueError(f"policy is '{name}', {where}; {_known()}")


def load_policy(
    name: str,
    embodiment: Embodiment,
    *,
    device: str = "auto",
    threads: int | None = None,
    seed: int | None = None,
    noise_scale: float = 0.0,
    cameras: Mapping[str, str] | None = None,
    units: str = "",
    statistics: str = "",
    calibration: str = "",
    chunking: str = "none",
    now_ns: Callable[[], int] | None = None,
    precision: str = "float32",
    committed_s: float = COMMITTED_S,
    world: object = None,
) -> Policy:
    """Make the policy of this name, see `find_policy`.

    A checkpoint takes the options that are its own. A class gets those that its constructor names.

    Args:
        embodiment: the arm that it is to move.
        device: `cpu`, `cuda`, or `auto` for the GPU if there is one.
        threads: of a checkpoint's sums; 0 has its dry run choose, None leaves them to torch.
        seed: of the noise; None for new noise at each start.
        noise_scale: of the noise; 1 as in training.
        cameras: camera of a LeRobot checkpoint -> stream.
        units: of a LeRobot checkpoint's joints, where its statistics leave a doubt: `degrees`,
            `normalized` (-100 to 100 of the calibrated travel) or `radians`.
        statistics: name of the data set whose statistics are used, where a LeRobot checkpoint has
            several.
        calibration: file of the arm whose data are `normalized`.
        chunking: `none`, or `rtc` for chunks that continue one another.
        now_ns: the clock of the observations' stamps, which `rtc` reads.
        precision: of a checkpoint's weights, one of `settings.POLICY_PRECISIONS`, or `auto` to
            have its dry run choose.
        committed_s: for how long the arm goes on along its last chunk after an observation, for a
            policy that plans with it.
        world: the simulator, for a policy that reads its state.

    Raises:
        ValueError: there is no such policy, or it cannot be made; one line with what to do.
    """
    options = {
        "device": device,
        "threads": threads,
        "seed": seed,
        "noise_scale": noise_scale,
        "cameras": cameras,
        "now_ns": now_ns,
        "precision": precision,
    }
    found = find_policy(name)
    try:
        if isinstance(found, Path):
            options["choice"] = lerobot_choice(units, statistics, calibration)
            policy = _load_checkpoint(found, embodiment, chunking, options)
        else:
            options |= {"embodiment": embodiment, "chunking": chunking, "committed_s": committed_s}
            options["world"] = world
            policy = found(**_accepted(found, options))
    except Exception as error:  # A policy is foreign code: whatever it raises ends the start.
        raise _cannot_be_made(name, error) from error
    for method in ("infer", "reset"):
        if not callable(getattr(policy, method, None)):
            raise ValueError(
                f"policy '{name}' has no method '{method}'; "
                "expected a class that implements multismolvla.interfaces.Policy"
            )
    return policy


def committed_s(latency_s: float, *, waits: bool = False) -> float:
    """How long the arm goes on along its last chunk after an observation, seconds.

    Args:
        latency_s: of an inference.
        waits: whether the arm stands still meanwhile.
    """
    return 0.0 if waits else max(COMMITTED_S, latency_s + OBSERVATION_AGE_S)


def streams_of(policy: Policy, table: StreamTable, name: str) -> tuple[str, ...]:
    """The streams of the table that a policy looks at, in its order.

    They are those of its attribute `streams`; without one, all of them.

    Args:
        name: of the policy, for the error.

    Raises:
        ValueError: it looks at streams and shares none with the table; one line.
    """
    streams = getattr(policy, "streams", None)
    if streams is None:
        return table.names
    known = {stream.name for stream in streams}
    seen = tuple(stream for stream in table.names if stream in known)
    if known and not seen:
        raise ValueError(
            f"policy '{name}' sees {', '.join(sorted(known))}, but the stream table has none"
        )
    return seen


def with_digest(name: str) -> str:
    """Name an exact policy: `runs/small@1f2e3d4c`, so that a checkpoint trained on is another one.

    A class keeps its name. What is written about a checkpoint (`README.md`) may change without
    making it another one, and so may its example observations, by which only a robot chooses its
    arithmetic.

    Raises:
        ValueError: there is no such policy; one line.
    """
    folder = find_policy(name)
    if not isinstance(folder, Path):
        return name
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.is_file() and file.suffix != ".md" and file.name != EXAMPLES:
            digest.update(file.name.encode() + file.read_bytes())
    return f"{name}@{digest.hexdigest()[:8]}"


def without_digest(policy: str) -> str:
    """The name as it was given to `with_digest`."""
    return policy.rpartition("@")[0] or policy


def _known() -> str:
    return (
        f"known: {', '.join(known_policies()) or 'none'}, the folder of a checkpoint, "
        "a hub id owner/name, or module:Class"
    )


def _cannot_be_made(name: str, error: Exception) -> ValueError:
    cause = one_line(error)
    return ValueError(
        f"policy '{name}' cannot be created: {type(error).__name__}: {cause}; {_known()}"
    )


def _accepted(factory: Factory, options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the options that a constructor names; all where it takes any keyword."""
    parameters = inspect.signature(factory).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return dict(options)
    names = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    return {name: value for name, value in options.items() if name in names}


def lerobot_choice(units: str, statistics: str, calibration: str):
    """What the files of a LeRobot checkpoint leave open, as a `StatisticsChoice`.

    Raises:
        ValueError: the calibration cannot be read, or is given for another unit.
    """
    # Imports torch.
    from multismolvla.policy.lerobot_normalization import StatisticsChoice

    if not calibration:
        return StatisticsChoice(units, statistics)
    if units != NORMALIZED:
        raise ValueError(
            f"policy_calibration is '{calibration}' and policy_units '{units}'; expected "
            f"'{NORMALIZED}' with it"
        )
    return StatisticsChoice(units, statistics, load_calibration(calibration).travel_rad)


def _load_checkpoint(
    folder: Path, embodiment: Embodiment, chunking: str, options: Mapping[str, Any]
) -> Policy:
    # Imports torch, which takes seconds that a policy without a network need not wait.
    from multismolvla.policy.chunk_continuation import WHOLE_OVERLAP
    from multismolvla.policy.learned_policy import LearnedPolicy
    from multismolvla.policy.real_time_chunking import RealTimeChunking

    guidance = RealTimeChunking(horizon=WHOLE_OVERLAP) if chunking == "rtc" else None
    return LearnedPolicy.load(folder, embodiment, chunking=guidance, **options)
