"""How the recorded stack was set up: see `nodes/recording_info.py`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from multismolvla.data import bag_messages as messages
from multismolvla.data.recorded_bag import RecordedBag
from multismolvla.modalities.modality import Counts
from multismolvla.pose_check.check import NONE
from multismolvla.setting import with_values
from multismolvla.streams import Stream

TOPIC = "recording_info"


@dataclass(frozen=True)
class BagInfo:
    """Empty for a bag without it.

    Attributes:
        launch_arguments: name -> text.
        parameters: full name of a node -> parameter -> value.
    """

    git_revision: str = ""
    launch_arguments: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def task(self, prefix: str = "") -> str:
        """The instruction that the policy was started with; "" for none."""
        own = self.parameters.get(f"{prefix}/policy_node", {})
        # Its parameters are not there yet in a recording that ended early.
        return str(own.get("task", self.launch_arguments.get("task", ""))).strip()

    def pose_check(self, prefix: str = "") -> str:
        """What the policy node compared images with the joints by; see `find_weights`."""
        return str(self.parameters.get(f"{prefix}/policy_node", {}).get("pose_check", NONE))

    def units(self, stream: Stream, prefix: str = "", others: Counts | None = None) -> Counts:
        """What the sensor node of a stream took the numbers of raw images for.

        Args:
            others: what they mean where it was not recorded; None for the defaults of the kind.
        """
        view = f"/{stream.view}" if stream.view else ""
        own = self.parameters.get(f"{prefix}{view}/{stream.kind}_node", {})
        return with_values(others or stream.modality.counts, own)


def read_info(bag: RecordedBag, prefix: str = "") -> BagInfo:
    """The newest that the bag has."""
    topic = f"{prefix}/{TOPIC}"
    known = bag.topics.get(topic)
    newest: dict[str, Any] = {}
    if known is not None and known.type_name == messages.STRING:
        for _, _, message in messages.decoded(bag, topic):
            # Another stack may have a topic of that name.
            with contextlib.suppress(ValueError):
                newest = json.loads(message.data)
    newest = _table(newest)
    parameters = _table(newest.get("parameters"))
    return BagInfo(
        str(newest.get("git_revision", "")),
        _table(newest.get("launch_arguments")),
        {node: _table(values) for node, values in parameters.items()},
    )


def _table(value: Any) -> dict[str, Any]:
    """What another stack publishes under that name may be anything."""
    return value if isinstance(value, dict) else {}
