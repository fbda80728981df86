"""Types of command-line arguments: text in, a value or one clear line out."""

from __future__ import annotations

import argparse

from multismolvla.embodiment.description import Embodiment, EmbodimentError
from multismolvla.embodiment.embodiment_file import load_embodiment


def positive(text: str) -> int:
    """A whole number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a positive number")
    return int(text)


def share(text: str) -> float:
    """A number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 0 to 1")
    return value


def embodiment(text: str) -> Embodiment:
    """An arm by its name or its YAML file."""
    try:
        return load_embodiment(text)
    except EmbodimentError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def name_and_topic(text: str) -> tuple[str, str]:
    """`NAME=TOPIC`, the topic with a slash before it."""
    name, equals, topic = text.partition("=")
    if not (name and equals and topic):
        raise argparse.ArgumentTypeError(f"'{text}' is not NAME=TOPIC")
    return name, f"/{topic.lstrip('/')}"


def add_topics(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Declare `--topics`."""
    parser.add_argument(
        "--topics",
        nargs="+",
        type=name_and_topic,
        default=[],
        metavar="NAME=TOPIC",
        help="topics of streams, joint_states, task, joint_trajectory in bags of other stacks",
    )


def add_embodiment(parser: argparse.ArgumentParser) -> None:
    """Declare `--embodiment`."""
    parser.add_argument(
        "--embodiment",
        type=embodiment,
        default="so101",
        metavar="ARM",
        help="the arm: so101 or a YAML file, see docs/embodiment.md (default: %(default)s)",
    )
