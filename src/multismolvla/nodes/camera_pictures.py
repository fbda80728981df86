"""The newest frame of every stream of one camera, subscribed to while it is viewed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

from multismolvla.modalities.camera_image import frame_in_units
from multismolvla.nodes.on_demand import OnDemand
from multismolvla.streams import Stream

# An older frame would look current.
STALE_S = 1.0


class CameraPictures:
    """Keeps messages as they come; they are converted when they are drawn.

    Args:
        is_wanted: whether this camera is viewed.
    """

    def __init__(
        self, node: Node, streams: Sequence[Stream], is_wanted: Callable[[], bool]
    ) -> None:
        self._streams = streams
        self._newest: dict[str, tuple[float, Image]] = {}
        self._demand = OnDemand(
            node,
            is_wanted,
            [
                (Image, f"{s.name}/image", partial(self._on_image, s.name), qos_profile_sensor_data)
                for s in streams
            ],
            on_end=self._newest.clear,
        )

    def check(self) -> None:
        """Check for viewers."""
        self._demand.check()

    def _on_image(self, stream: str, message: Image) -> None:
        self._newest[stream] = (time.monotonic(), message)

    def frames(self) -> dict[str, np.ndarray | None]:
        """Stream -> its conditioned frame; None where there was none of late, or none that fits."""
        return {stream.name: self._frame(stream) for stream in self._streams}

    def _frame(self, stream: Stream) -> np.ndarray | None:
        received_s, message = self._newest.get(stream.name, (0.0, None))
        if message is None or time.monotonic() - received_s > STALE_S:
            return None
        try:
            return frame_in_units(stream.modality, message)
        except ValueError:  # Its sensor node says what is wrong with a stream.
            return None
