"""The form of a check-up: findings with their fix, as text or JSON, and the exit status.

`multismolvla checkpoint check` and its siblings for data sets and bags collect findings and hand
them to `report`. What is right is no finding. A finding is one line, so that a person at the robot
can act on it and a script can sort it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from multismolvla.one_line import one_line

# Error: it is refused, or would be misread. Warning: it is read, but looks odd.
ERROR, WARNING = "error", "warning"
# Exit status by the worst finding; 0 without one.
STATUS = {WARNING: 1, ERROR: 2}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong or odd.

    Attributes:
        severity: `ERROR` or `WARNING`.
        file: where it was found, as a path or, within what is checked, a name.
        key: the place in the file, such as `features.action.names[2]`; "" for the whole file.
        what: the value found and what was expected.
        fix: what to do about it, as a command or a sentence; "" where nothing can be said.
    """

    severity: str
    file: str
    key: str
    what: str
    fix: str = ""

    def __post_init__(self) -> None:
        if self.severity not in STATUS:
            raise ValueError(f"severity is {self.severity!r}; expected {', '.join(STATUS)}")
        for name in ("file", "key", "what", "fix"):
            text = str(getattr(self, name))
            object.__setattr__(self, name, one_line(text) if text.strip() else "")

    def __str__(self) -> str:
        """`error: config.json: fps: is 0; expected frames per second. Fix: ...`"""
        place = ": ".join(part for part in (self.severity, self.file, self.key) if part)
        fix = f". Fix: {self.fix}" if self.fix else ""
        return f"{place}: {self.what}{fix}"


def error(file: object, key: str, what: object, fix: str = "") -> Finding:
    """What is refused, or would be misread."""
    return Finding(ERROR, str(file), key, str(what), fix)


def warning(file: object, key: str, what: object, fix: str = "") -> Finding:
    """What is read, but looks odd."""
    return Finding(WARNING, str(file), key, str(what), fix)


def errors(findings: Iterable[Finding]) -> list[Finding]:
    """Those that are refused."""
    return [finding for finding in findings if finding.severity == ERROR]


def exit_status(findings: Iterable[Finding]) -> int:
    """0 without findings, 1 with warnings only, 2 with an error."""
    return max((STATUS[finding.severity] for finding in findings), default=0)


def add_json_argument(parser: argparse.ArgumentParser) -> None:
    """Declare `--json`, which every check-up has."""
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object instead of lines"
    )


def report(
    subject: object,
    findings: Sequence[Finding],
    *,
    as_json: bool = False,
    facts: Mapping[str, Any] | None = None,
) -> int:
    """Print a check-up, errors first, and return the exit status.

    Args:
        subject: what was checked, usually a path.
        as_json: one object: `subject`, `status` ("ok", "warning", "error"), `facts`, `findings`.
        facts: what is known of the subject, in the order to print; values that JSON can hold.
    """
    ordered = sorted(findings, key=lambda finding: -STATUS[finding.severity])
    status = exit_status(ordered)
    word = {0: "ok", **{value: name for name, value in STATUS.items()}}[status]
    if as_json:
        content = {
            "subject": str(subject),
            "status": word,
            "facts": dict(facts or {}),
            "findings": [asdict(finding) for finding in ordered],
        }
        print(json.dumps(content, indent=2))
        return status
    for name, value in (facts or {}).items():
        print(f"{name}: {', '.join(map(str, value)) if isinstance(value, list) else value}")
    for finding in ordered:
        print(finding)
    wrong = len(errors(ordered))
    counts = (_count(wrong, ERROR), _count(len(ordered) - wrong, WARNING))
    print(f"{subject}: {', '.join(text for text in counts if text) or 'nothing wrong'}")
    return status


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'s' if number > 1 else ''}" if number else ""
