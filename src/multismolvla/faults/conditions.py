"""What is damaged in an episode of an evaluation, written as one word.

clean                    nothing
drop:rgb                 one stream gives no frames, from before the episode on
drop:rgb+wrist/depth     two streams
drop:all-rgb             every stream of a kind: the modality
drop:view-wrist          every stream of a view: the camera rig there, with all it has
only:all-depth           every stream but these
noise-2:all-rgb          a fault of `registry.FAULTS` at a severity from 1 to 5
plus_fog-7:agentview/rgb one of LIBERO-plus' `sensor_noise.SENSOR_NOISE` at one from 1 to 10
drop:all-rgb@mid         any of these, from a random moment in the middle of the episode on
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from multismolvla.faults.fault import SEVERITIES, Fault, TimedFault
from multismolvla.faults.registry import find_fault
from multismolvla.faults.sensor_noise import SENSOR_NOISE
from multismolvla.modalities.registry import kinds
from multismolvla.streams import StreamTable

# Which streams a person means: `rgb`, `rgb+wrist/rgb`, `all-depth`, `view-wrist`, `all`.


def select_streams(text: str, table: StreamTable) -> tuple[str, ...]:
    """Return the streams that are named, in the order of the table.

    Raises:
        ValueError: a kind or a stream does not exist; one line.
    """
    named = set()
    for target in text.split("+"):
        if target == "all":
            named |= set(table.names)
        elif target.startswith("all-"):
            kind = target.removeprefix("all-")
            if kind not in kinds():
                raise ValueError(f"'{kind}' is not a kind; expected {', '.join(kinds())}")
            named |= {stream.name for stream in table if stream.kind == kind}
        elif target.startswith("view-"):
            view = target.removeprefix("view-")
            streams = {stream.name for stream in table if stream.view == view}
            if not streams:
                views = dict.fromkeys(stream.view for stream in table if stream.view)
                raise ValueError(f"'{view}' is not a view; expected {', '.join(views)}")
            named |= streams
        else:
            named.add(table[target].name)
    return tuple(name for name in table.names if name in named)


CLEAN = "clean"
SETS = ("quick", "standard", "full", "libero")
# The standard of a table with these two views is LIBERO's set.
LIBERO_VIEWS = ("agentview", "wrist")
# Fault -> what the report calls it. Severity 2 is the one that the targets are about.
SOFT_FAULTS = ("noise", "motion_blur", "occlusion", "frozen", "late", "low_rate")
SOFT_SEVERITIES = (1, 2, 3)
# LIBERO's cameras give a frame a step, and a policy that executes chunks looks at few of them.
LIBERO_SOFT_FAULTS = ("noise", "motion_blur", "occlusion", "frozen", "late")
# Tasks of the suite `long` take that much longer.
LONG_FACTOR = 2.0


@dataclass(frozen=True)
class Condition:
    """One kind of damage.

    Attributes:
        name: see the module.
        fault: name of a fault, or "" for a clean episode.
        severity: 1 to 5, of LIBERO-plus 1 to 10, None for a fault that has none.
        streams: the streams that are damaged.
        middle: it begins in the middle of the episode, not before it.
    """

    name: str
    fault: str = ""
    severity: int | None = None
    streams: tuple[str, ...] = ()
    middle: bool = False

    @property
    def hard(self) -> bool:
        """Whether the streams are gone altogether."""
        return self.fault == "drop"

    def faults(self, table: StreamTable, seed: int, onset_s: float) -> dict[str, TimedFault]:
        """Make the damage of one episode, by stream; a stream that the table lacks is left out.

        Args:
            onset_s: when it begins, if in the middle, on the clock of the episode.
        """
        start_ns = round(onset_s * 1e9) if self.middle else 0
        made = {}
        for name in set(self.streams) & set(table.names):
            fault, own_seed = _find(self.fault), zlib.crc32(f"{seed} {name}".encode())
            kind = table[name].kind
            made[name] = TimedFault(
                fault(kind, own_seed)
                if self.severity is None
                else fault.at_severity(kind, self.severity, own_seed),
                start_ns,
            )
        return made


def _find(name: str) -> type[Fault]:
    """A fault of an evaluation. Those of LIBERO-plus are benchmarks, and nothing else has them."""
    return SENSOR_NOISE[name] if name in SENSOR_NOISE else find_fault(name)


def middle_s(task: str, suite: str, seed: int, between_s: tuple[float, float]) -> float:
    """When a loss in the middle of this episode begins; the same for every policy and condition.

    Args:
        between_s: seconds after the instruction, in suites other than `long`.
    """
    rng = np.random.default_rng([seed, zlib.crc32(task.encode())])
    return float(rng.uniform(*between_s)) * (LONG_FACTOR if suite == "long" else 1.0)


def parse_condition(text: str, table: StreamTable) -> Condition:
    """Return the condition that the text names.

    Raises:
        ValueError: the text has another form, or names a fault or stream that does not exist.
    """
    if text == CLEAN:
        return Condition(CLEAN)
    body, _, moment = text.partition("@")
    damage, colon, targets = body.partition(":")
    if not colon or moment not in ("", "mid") or ("@" in text) != bool(moment):
        raise ValueError(
            f"condition is '{text}'; expected clean, drop:<streams>, only:<streams> or "
            "<fault>-<severity>:<streams>, each with or without @mid"
        )
    try:
        streams = select_streams(targets, table)
    except ValueError as error:
        raise ValueError(f"condition '{text}': {error}") from None
    if damage == "only":
        streams = tuple(name for name in table.names if name not in streams)
        damage = "drop"
    fault, dash, level = damage.partition("-")
    if not dash and fault != "drop":
        raise ValueError(f"condition '{text}': {fault} needs a severity, as in {fault}-2")
    levels, able = _find(fault).levels, _find(fault).kinds()
    if dash and (not level.isdigit() or int(level) not in levels):
        raise ValueError(f"condition '{text}': severity is '{level}'; expected 1 to {levels[-1]}")
    for name in streams:
        if table[name].kind not in able:
            raise ValueError(
                f"condition '{text}': {fault} does not apply to {name}; expected {', '.join(able)}"
            )
    return Condition(text, fault, int(level) if dash else None, streams, bool(moment))


def condition_set(name: str, table: StreamTable) -> list[Condition]:
    """Return the conditions of a set, clean first.

    - `quick`: clean, the loss of RGB from the start and in the middle, depth alone, noise;
    - `standard`: clean; each stream, each modality, each pair of modalities lost, and all but one
      modality, from the start and in the middle; six soft faults of RGB at severities 1 to 3;
    - `full`: `standard` and each pair of streams lost, from the start and in the middle;
    - `libero`: clean; each stream, RGB (from the start and in the middle) and each view lost, and
      all but one modality; five soft faults of RGB at severities 1 to 3; `alpha_blend` of RGB at 1
      to 5. It is the `standard` of a table with LIBERO's two views, whose `full` has it in addition
      and whose `quick` is clean, RGB lost in the middle, `agentview` lost and depth alone.

    Raises:
        ValueError: there is no such set, or the table lacks the views of `libero`.
    """
    if name not in SETS:
        raise ValueError(f"condition set is '{name}'; expected {', '.join(SETS)}")
    libero = set(LIBERO_VIEWS) <= {stream.view for stream in table}
    if name == "quick":
        texts = ["drop:all-rgb", "drop:all-rgb@mid", "only:all-depth", "noise-2:all-rgb"]
        if libero:
            texts = ["drop:all-rgb@mid", "drop:view-agentview", "only:all-depth"]
    elif name == "libero" or (name == "standard" and libero):
        texts = _libero(table)
    else:
        texts = _robot(table, pairs_of_streams=name == "full")
        if libero:
            texts = list(dict.fromkeys([*_libero(table), *texts]))
    return [Condition(CLEAN), *(parse_condition(text, table) for text in texts)]


def _there(table: StreamTable) -> list[str]:
    return [kind for kind in kinds() if any(stream.kind == kind for stream in table)]


def _robot(table: StreamTable, pairs_of_streams: bool) -> list[str]:
    there = _there(table)
    hard = [f"drop:{stream}" for stream in table.names]
    hard += [f"drop:all-{kind}" for kind in there]
    hard += [f"drop:all-{one}+all-{other}" for one, other in combinations(there, 2)]
    hard += [f"only:all-{kind}" for kind in there]
    if pairs_of_streams:
        hard += [f"drop:{one}+{other}" for one, other in combinations(table.names, 2)]
    texts = [f"{text}{moment}" for moment in ("", "@mid") for text in hard]
    return texts + [f"{f}-{level}:all-rgb" for f in SOFT_FAULTS for level in SOFT_SEVERITIES]


def _libero(table: StreamTable) -> list[str]:
    texts = [f"drop:{stream}" for stream in table.names]
    texts += ["drop:all-rgb", "drop:all-rgb@mid"]
    texts += [f"drop:view-{view}" for view in LIBERO_VIEWS]
    texts += [f"only:all-{kind}" for kind in _there(table)]
    texts += [f"{f}-{level}:all-rgb" for f in LIBERO_SOFT_FAULTS for level in SOFT_SEVERITIES]
    return texts + [f"alpha_blend-{level}:all-rgb" for level in SEVERITIES]
