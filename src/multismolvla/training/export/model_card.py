"""The model card of an exported checkpoint, from its files and a report."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from multismolvla.embodiment.description import Embodiment
from multismolvla.embodiment.so101 import SO101
from multismolvla.markdown import table
from multismolvla.policy.config import PolicyConfig
from multismolvla.stack.worlds import WORLDS

UNMEASURED = (
    "None is inserted. After `multismolvla evaluate --policies FOLDER`, export again with "
    "`--report out/evaluation/report.md`."
)
# `before` of the history -> what was taken from that run.
TAKEN = {"start": "continued from", "encoder": "encoder taken from"}
# Names in histories that older trainers wrote.
FORMER_KEYS, FORMER_KINDS = {"eyes": "encoder"}, {"hand": "action_expert"}


@dataclass(frozen=True)
class Facts:
    """What was measured of the export.

    Attributes:
        size_bytes: of the files beside the card.
        difference: largest difference of an action from the original's, with its unit, in
            `compared` random observations.
    """

    parameters: int
    size_bytes: int
    precision: str
    difference: str
    compared: int


def render_model_card(
    config: PolicyConfig,
    history: Mapping[str, Any],
    facts: Facts,
    evaluation: str | None = None,
    arm: Embodiment = SO101,
) -> str:
    """The card in Markdown.

    Args:
        history: as `provenance.whole_history` gives it.
        evaluation: as `evaluation_section` gives it; None while there is none.
    """
    world = next(world for world in WORLDS.values() if world.embodiment.name == arm.name)
    parts = [
        f"# MultiSmolVLA, `{history['recipe']['model']['preset']}`",
        f"A policy for the arm `{arm.name}`: instruction, state and up to {len(config.streams)} "
        f"camera streams in, a chunk of {'joint targets' if arm.commands_joints else 'steps'} out. "
        "Streams may be missing; a mask says which.",
        f"    multismolvla evaluate --world {world.name} --policies FOLDER",
        "`FOLDER` is this folder; the checkpoint that comes with the package is called "
        f"`{world.policy}`.",
        "## Model",
        table(["", ""], _sizes(config, facts)),
        "## Streams",
        table(
            ["stream", "kind", "size (px)", "rate (Hz)"],
            (
                [f"`{s.name}`", s.kind, f"{s.width} x {s.height}", f"{s.rate_hz:g}"]
                for s in config.streams
            ),
        ),
        "## How it was trained",
        "From demonstrations of a scripted expert in simulation. `training.json` has "
        "the recipes in full.",
        *_run(history, "the last run"),
        "## Evaluation in closed loop",
        evaluation or UNMEASURED,
        "## What this does not claim",
        f"It was trained in simulation, on tasks, objects and instructions of {world.name} alone. "
        "It was not tried on a real arm, with other objects or with other instructions.",
    ]
    return "\n\n".join(parts) + "\n"


def evaluation_section(report: str) -> str:
    """A report of `multismolvla evaluate` without its title, headings one level lower."""
    body = re.sub(r"\A\s*# .*\n", "", report).strip()
    return re.sub(r"^(#+) ", r"#\1 ", body, flags=re.M)


def _sizes(config: PolicyConfig, facts: Facts) -> Iterator[Sequence[str]]:
    text, expert = config.text, config.expert
    yield "parameters", f"{facts.parameters / 1e6:.2f} M"
    yield "files", f"{facts.size_bytes / 1e6:.1f} MB, weights in {facts.precision}"
    yield (
        "largest difference of an action from the original checkpoint",
        f"{facts.difference} in {facts.compared} random observations",
    )
    if config.fourm is not None:
        encoder = config.fourm
        yield (
            "encoder",
            f"4M-21, width {encoder.dim}, {encoder.depth} blocks, {encoder.image_size} px in "
            f"patches of {encoder.patch_size}, streams joined {encoder.fusion}",
        )
    yield "language model", f"width {text.hidden_size}, {text.layers} layers, {text.heads} heads"
    yield "action expert", f"width {expert.hidden_size}"
    yield "reads the views' tokens", "yes" if config.view_tokens else "no, object tokens alone"
    yield "estimates the poses of", ", ".join(config.objects) or "nothing"
    yield "chunk", f"{config.chunk_size} rows of {config.period_s * 1e3:.3g} ms"
    yield "flow", f"{config.denoising_steps} steps of {config.solver}"
    yield "joints relative to the state", ", ".join(config.relative_joints) or "none"


def _run(history: Mapping[str, Any], title: str) -> Iterator[str]:
    """Code, time, phases and data of a run, then of those before it."""
    yield f"### {title[0].upper()}{title[1:]}"
    if "recipe" not in history:
        yield f"`{history['checkpoint']}`; its history is not known."
        return
    recipe = history["recipe"]
    phases = recipe["phases"]
    last = next(i for i, each in enumerate(phases) if each["name"] == history["phase"])
    minutes, seed = history.get("minutes", "?"), recipe["seed"]
    yield (
        f"Code at `{history['revision']}`, seed {seed}, {minutes} minutes; "
        f"{history['samples']} training samples of {history['episodes']} episodes in "
        f"`{recipe['data']['cache']}`."
    )
    yield table(
        [
            "phase",
            "kind",
            "data",
            "steps",
            "batch",
            "samples seen",
            "learning rate",
            "streams lost",
        ],
        (
            [
                each["name"],
                _kind(each),
                f"`{each['cache'] or recipe['data']['cache']}`",
                str(each["steps"]),
                str(each["batch_size"]),
                str(each["steps"] * each["batch_size"]),
                f"{each['learning_rate']:g}",
                _lost(each),
            ]
            for each in phases[: last + 1]
        ),
    )
    if history["data_seeds"]:
        yield table(
            ["data", "seeds of its scenes"],
            ([f"`{name}`", _ranges(seeds)] for name, seeds in history["data_seeds"].items()),
        )
    for key, before in history["before"].items():
        yield from _run(before, TAKEN[FORMER_KEYS.get(key, key)])


def _ranges(seeds: Sequence[Sequence[int]]) -> str:
    return ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in seeds) or "none"


def _kind(phase: Mapping[str, Any]) -> str:
    return FORMER_KINDS.get(phase["kind"], phase["kind"])


def _lost(phase: Mapping[str, Any]) -> str:
    if _kind(phase) == "action_expert":
        return "all frames: privileged poses"
    dropout = phase["dropout"]
    if dropout["schedule"] == "none":
        return "nothing"
    return f"{dropout['rate']:.0%} of the streams, {dropout['schedule']}"
