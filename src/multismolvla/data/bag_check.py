"""Everything that is wrong or odd in a bag for this stack, in one reading of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from multismolvla.data.bag import is_episode
from multismolvla.data.recorded_bag import BagError, RecordedBag, open_bag
from multismolvla.data.recording import (
    COMMAND,
    IMAGE_TYPES,
    OTHERS,
    STATUS,
    TASK,
    Event,
    Recording,
    guess_topics,
    open_recording,
)
from multismolvla.doctor import Finding, error, warning
from multismolvla.embodiment.description import Embodiment
from multismolvla.faults.fault import JOINT_STATES
from multismolvla.sensing.appearance import Appearance
from multismolvla.sensing.health import CLOCK_JUMP_NS
from multismolvla.streams import StreamTable

# A stretch without a message that is worth a line; for slow streams ten of their periods.
GAP_S, GAP_PERIODS = 0.5, 10.0
# Values of a stream that are missing.
MANY_HOLES = 0.2
# Images with the same fault.
MANY_IMAGES = 0.02
# Joint states below this rate leave the policy with poses of some time ago.
STATE_HZ = 10.0
# Sizes of images that are listed.
_LIST = 8


@dataclass
class _Heard:
    """What came of one source."""

    count: int = 0
    first_ns: int = 0
    last_ns: int = 0
    gaps: list[tuple[float, float]] = field(default_factory=list)
    stamp_ns: int | None = None
    backwards: int = 0
    repeated: int = 0
    unsound: Counter[str] = field(default_factory=Counter)
    odd: Counter[str] = field(default_factory=Counter)
    holes: float = 0.0
    sizes: Counter[tuple[int, ...]] = field(default_factory=Counter)


def check_bag(
    path: Path,
    table: StreamTable,
    embodiment: Embodiment,
    namespace: str = "",
    topics: Mapping[str, str] | None = None,
) -> tuple[dict[str, Any], list[Finding]]:
    """What is known of a bag, and what is wrong or odd in it."""
    try:
        bag = open_bag(path)
    except BagError as wrong:
        return {}, [error(path, "", _without(path, wrong))]
    findings = []
    if bag.damage:
        findings.append(warning(path, "", bag.damage, f"multismolvla bag recover {path}"))
    facts: dict[str, Any] = {"topics": len(bag.topics)}
    if path.is_dir() and is_episode(path):
        facts["kind"] = "an episode of this project's own"
        return facts, findings
    try:
        recording = open_recording(
            path, table, embodiment, namespace, topics, "recorded", judged=False
        )
    except BagError as wrong:
        fix = _namespace_fix(bag, table) if not namespace else ""
        return facts, [*findings, error(path, "", _without(path, wrong), fix)]
    findings += _unused(recording)
    heard = _listen(recording)
    facts |= _facts(recording, heard)
    findings += _needed(recording, heard)
    findings += _clock(recording)
    for source, known in heard.items():
        findings += _judge(recording, source, known)
    return facts, findings


def _without(path: Path, wrong: BagError) -> str:
    """The error without the path, which a finding has apart."""
    return str(wrong).removeprefix(f"{path}: ")


def _namespace_fix(bag: RecordedBag, table: StreamTable) -> str:
    """The namespace that a robot's topics are in, if that is all that is wrong."""
    for topic in sorted(bag.topics):
        for name in table.names:
            namespace, found, _ = topic.partition(f"/{name}/image")
            if found and namespace:
                return f"--namespace {namespace.strip('/')}"
    return ""


def _unused(recording: Recording) -> Iterator[Finding]:
    """Topics that look as if they were meant for the stack, and are not taken."""
    taken = set(recording.topics.values())
    guessed = guess_topics(recording.bag, recording.table, recording.topics)
    guesses = {topic: name for name, topic in guessed.items()}
    for topic, about in sorted(recording.bag.topics.items()):
        if topic in taken or topic.endswith("/image"):
            continue
        if about.type_name in IMAGE_TYPES:
            base = topic.removesuffix("/compressed").removesuffix("/compressedDepth")
            if any(other.startswith(base) for other in taken):
                continue
            name = guesses.get(topic, "")
            fix = f"--topics {name}={topic}, if it is that" if name else "--topics STREAM=TOPIC"
            yield warning(topic, "", "images that no stream of the table takes", fix)
        for name, type_name in OTHERS.items():
            if (
                about.type_name == type_name
                and name not in recording.topics
                and name
                in (
                    JOINT_STATES,
                    COMMAND,
                )
            ):
                yield warning(
                    topic,
                    "",
                    f"{type_name} that is not taken for {name}",
                    f"--topics {name}={topic}",
                )


def _listen(recording: Recording) -> dict[str, _Heard]:
    """Read everything once."""
    heard: dict[str, _Heard] = {}
    looks = {name: Appearance(recording.table[name].modality.health) for name in recording.streams}
    for event in recording.events(commands=True):
        known = heard.setdefault(event.source, _Heard(first_ns=event.now_ns))
        if known.count:
            away_s = (event.now_ns - known.last_ns) * 1e-9
            if away_s > _longest(recording, event.source):
                known.gaps.append(((known.last_ns - known.first_ns) * 1e-9, away_s))
        known.count += 1
        known.last_ns = event.now_ns
        _stamps(known, event)
        if event.source in looks and not event.problem:
            known.sizes[event.value.shape[:2]] += 1
            losing, damaged = looks[event.source].judge(event.value)
            known.unsound.update(losing.keys())
            known.odd.update(damaged.keys())
            known.holes += looks[event.source].invalid_share
    return heard


def _longest(recording: Recording, source: str) -> float:
    """Silence of a source that is no gap, seconds."""
    name = source.removesuffix(STATUS)
    if source in OTHERS and source != JOINT_STATES:
        return float("inf")
    rate_hz = recording.table[name].rate_hz if name in recording.table.names else STATE_HZ
    return max(GAP_S if not source.endswith(STATUS) else 3.0, GAP_PERIODS / rate_hz)


def _stamps(known: _Heard, event: Event) -> None:
    if event.source == TASK or event.source.endswith(STATUS):
        return
    if known.stamp_ns is not None:
        known.backwards += event.stamp_ns < known.stamp_ns - CLOCK_JUMP_NS
        known.repeated += event.stamp_ns == known.stamp_ns
    known.stamp_ns = event.stamp_ns


def _facts(recording: Recording, heard: Mapping[str, _Heard]) -> dict[str, Any]:
    times = [(known.first_ns, known.last_ns) for known in heard.values()]
    lasts_s = (max(t for _, t in times) - min(t for t, _ in times)) * 1e-9 if times else 0.0
    lines = []
    for source, known in heard.items():
        if not source.endswith(STATUS):
            rate = (known.count - 1) / max(1e-9, (known.last_ns - known.first_ns) * 1e-9)
            rate_text = f", {rate:.1f} Hz" if known.count > 2 else ""
            lines.append(f"{source} = {recording.topics[source]} ({known.count}{rate_text})")
    facts: dict[str, Any] = {"seconds": round(lasts_s, 1), "taken": lines}
    if recording.clock.note:
        facts["clock"] = recording.clock.note
    return facts


def _needed(recording: Recording, heard: Mapping[str, _Heard]) -> Iterator[Finding]:
    """What a replay or a data set cannot do without."""
    path = recording.bag.path
    for name, why in (
        (JOINT_STATES, "neither replay nor training can use it"),
        (COMMAND, "training has nothing to learn from it"),
    ):
        if not heard.get(name, _Heard()).count:
            what = "no message on it" if name in recording.topics else "there is none"
            severity = error if name == JOINT_STATES else warning
            yield severity(path, name, f"{what}: {why}", f"record it, or --topics {name}=TOPIC")
    if not heard.get(TASK, _Heard()).count and not recording.first_task:
        yield warning(
            path,
            TASK,
            "there is no instruction: training has no episode in it",
            "record the topic 'task'; replay takes --task 'INSTRUCTION'",
        )
    for name in recording.missing:
        if not recording.table[name].derived_from:
            yield warning(path, name, "no images: the stream is masked all the time")


def _clock(recording: Recording) -> Iterator[Finding]:
    """A recorder whose clock was set while it recorded."""
    before_ns, back_s, leaps = None, 0.0, 0.0
    for _, logged_ns, _ in recording.bag.messages(recording.topics.values()):
        if before_ns is not None:
            step_s = (logged_ns - before_ns) * 1e-9
            back_s, leaps = min(back_s, step_s), max(leaps, step_s)
        before_ns = logged_ns
    path = recording.bag.path
    if back_s < -GAP_S:
        yield error(
            path,
            "",
            f"the recorder's clock was set back by {-back_s:.1f} s",
            "cut the bag there; its times before and after cannot be compared",
        )
    if leaps > 60.0:
        yield warning(
            path, "", f"for {leaps:.0f} s no message at all: a pause, or a clock set ahead"
        )


def _judge(recording: Recording, source: str, known: _Heard) -> Iterator[Finding]:
    topic = recording.topics[source]
    complaint = recording.complaint(source)
    problems = recording.problems.get(source, Counter())
    if complaint:
        yield error(topic, source, complaint)
    elif problems:
        problem, count = problems.most_common(1)[0]
        share = problems.total() / known.count
        yield warning(
            topic,
            source,
            f"{share:.1%} of the messages are of no use, as: {problem}"
            + (f" ({count} times)" if count < problems.total() else ""),
        )
    if known.gaps:
        starts = ", ".join(f"{length:.1f} s at {at:.1f} s" for at, length in known.gaps[:3])
        more = f" and {len(known.gaps) - 3} more" if len(known.gaps) > 3 else ""
        yield warning(
            topic,
            source,
            f"gaps without a message: {starts}{more}",
            "the stream is masked, or the arm holds, in them",
        )
    if known.backwards:
        yield warning(
            topic,
            source,
            f"stamps run backwards {known.backwards} times",
            "two publishers on one topic, or a clock that is set: stop one of them",
        )
    if known.repeated > 0.1 * known.count:
        yield warning(
            topic,
            source,
            f"{known.repeated} of {known.count} stamps repeat the one before",
            "have the driver stamp each message when it was taken",
        )
    if source in recording.table.names:
        yield from _pictures(recording, source, known)
    elif source == JOINT_STATES and known.count > 2:
        rate_hz = (known.count - 1) / max(1e-9, (known.last_ns - known.first_ns) * 1e-9)
        if rate_hz < STATE_HZ:
            yield warning(topic, source, f"only {rate_hz:.1f} Hz; expected {STATE_HZ:g} at least")


def _pictures(recording: Recording, source: str, known: _Heard) -> Iterator[Finding]:
    topic, stream = recording.topics[source], recording.table[source]
    seen = known.sizes.total()
    limits = f"the limits are in {stream.kind}_node.yaml"
    for reasons, so in ((known.unsound, "masked there"), (known.odd, "it stays in use")):
        for reason, count in reasons.most_common():
            if count > MANY_IMAGES * seen:
                what = f"{reason} in {count / seen:.0%} of the images"
                yield warning(topic, source, what, f"{so}; {limits}")
    if seen and known.holes / seen > MANY_HOLES:
        yield warning(
            topic,
            source,
            f"{known.holes / seen:.0%} of the pixels have no value",
            f"see 'no_value' and the range in docs/nodes/{stream.kind}_node.md",
        )
    if len(known.sizes) > 1:
        sizes = ", ".join(f"{w}x{h}" for (h, w), _ in known.sizes.most_common(_LIST))
        yield warning(topic, source, f"images of several sizes: {sizes}")
    if known.sizes:
        (height, width), _ = known.sizes.most_common(1)[0]
        other = (width / height) / (stream.width / stream.height)
        if not 0.98 <= other <= 1.02:
            yield warning(
                topic,
                source,
                f"images of {width}x{height} are squeezed to {stream.width}x{stream.height}",
                "give the stream their shape in the stream table, for a policy trained so",
            )
    rate_hz = (known.count - 1) / max(1e-9, (known.last_ns - known.first_ns) * 1e-9)
    least = stream.modality.health.slow_fraction * stream.rate_hz
    if known.count > 2 and rate_hz < least:
        yield warning(
            topic,
            source,
            f"{rate_hz:.1f} images a second instead of {stream.rate_hz:g}",
            "the stream counts as slow; say its rate in the stream table",
        )
