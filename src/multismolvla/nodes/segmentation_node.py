"""Labels a camera's images from whichever of its healthy streams have one of an instant."""

from __future__ import annotations

import time
from weakref import WeakValueDictionary

import numpy as np
from message_filters import Subscriber
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from multismolvla.control.load_shedding import SEGMENTATION_RATE, Load
from multismolvla.nodes.latest_worker import LatestWorker
from multismolvla.nodes.parameters import ParameterError, declare_settings
from multismolvla.nodes.run import run
from multismolvla.nodes.sensor_node import SensorNode
from multismolvla.nodes.stream_status import StatusMonitor
from multismolvla.nodes.stream_synchronizer import StreamSynchronizer
from multismolvla.sensing.conditioning import resize
from multismolvla.sensing.derived_health import DerivedHealth
from multismolvla.sensing.health import StreamHealth
from multismolvla.sensing.reported_health import StreamStatus
from multismolvla.sensing.synchronizer import SynchronizedSet
from multismolvla.sensing.thresholds import Thresholds
from multismolvla.stack.settings import GROUND_TRUTH, LabellerSettings

# Cameras that are triggered together have their sets ready within this time of one another.
GATHER_S = 0.01
_ENCODINGS = {"rgb": "rgb8", "depth": "32FC1", "thermal": "32FC1"}


class SegmentationNode(SensorNode):
    """Publishes `segmentation/image`, made of the conditioned images of the same camera.

    The stream inherits the health of its sources: it is lost when the last of them is. Labelling
    has its own thread, which the nodes of a process share, and always takes the newest sets. The
    backend `ground_truth` instead passes on a simulator's `segmentation/image_raw`, which has a
    health of its own.
    """

    kind = "segmentation"
    accepted = ("mono8", "8UC1")
    encoding = "mono8"

    def declare_source(self) -> None:
        self._labels = settings = declare_settings(self, LabellerSettings())
        self._labelling = None
        if settings.backend != GROUND_TRUTH:
            self._labelling = _shared_labelling(
                settings.backend, settings.model, settings.threads, settings.precision
            )

    def create_health(self, thresholds: Thresholds) -> StreamHealth:
        if self._labels.backend == GROUND_TRUTH:
            return super().create_health(thresholds)
        kinds = [name.rpartition("/")[2] for name in self._stream.derived_from]
        # Sources by kind: their topics are relative to this node's namespace.
        self._sources = [kind for kind in self._labelling.inputs if kind in kinds]
        if not self._sources:
            raise ParameterError(
                f"{self.get_fully_qualified_name()}: stream '{self._stream.name}' is derived from "
                f"{', '.join(self._stream.derived_from) or 'nothing'} in the stream table; backend "
                f"'{self._labels.backend}' needs one of {', '.join(self._labelling.inputs)}"
            )
        return DerivedHealth(self.kind, self._stream.rate_hz, self._sources, thresholds)

    def connect(self) -> None:
        if self._labels.backend == GROUND_TRUTH:
            super().connect()
            return
        self._worker = self._labelling.worker.join(self, self._on_labels)
        self._synchronizer = StreamSynchronizer(
            self,
            {
                kind: Subscriber(self, Image, f"{kind}/image", qos_profile=qos_profile_sensor_data)
                for kind in self._sources
            },
            slop_s=self._labels.slop_s,
            max_wait_s=self._labels.max_wait_s,
            statuses=StatusMonitor(self, self._sources, self._on_source),
        )
        self._synchronizer.registerCallback(self._on_set)
        # All images of a camera share its geometry; any source's is the labels' too.
        self.follow_camera_info(f"{self._sources[0]}/image/camera_info")
        self.get_logger().info(
            f"{self._stream.name}: waiting for images of {', '.join(self._sources)}"
        )

    def _on_load(self, load: Load) -> None:
        super()._on_load(load)
        if self._labels.backend != GROUND_TRUTH:
            # The same windows as the policy's, so that both choose the same images.
            fewer = SEGMENTATION_RATE in load.shed
            window_s = 2.0 * self._stream.period_s if fewer else 0.0
            self._synchronizer.relax(load.lag_s, window_s)

    def destroy_node(self) -> None:
        if self._labels.backend != GROUND_TRUTH:
            self._worker.close()
        super().destroy_node()

    def _on_source(self, source: str, status: StreamStatus) -> None:
        before = self._health.state, self._health.reasons
        self._health.set_source(source, status.state, status.reasons)
        if (self._health.state, self._health.reasons) != before:
            self._status.changed()

    def _on_set(self, images: SynchronizedSet) -> None:
        size = self._stream.height, self._stream.width
        try:
            frames = {
                kind: resize(kind, self.decode(message, _ENCODINGS[kind]), *size)
                for kind, message in images.messages.items()
                if message is not None
            }
        except ValueError as error:
            self._on_labels(None, error)
        else:
            header = images.messages[images.reference].header
            self._worker.submit((frames, header, time.monotonic_ns()))

    def _on_labels(
        self, result: tuple[np.ndarray, Header, int] | None, error: Exception | None
    ) -> None:
        if result is None:
            self.refuse(f"cannot label: {' '.join(str(error).split())}")
            return
        labels, header, submitted_ns = result
        now_ns = time.monotonic_ns()
        # Labels that take no longer than the next images to come are in time.
        self._lag.note(now_ns, now_ns - submitted_ns - round(self._stream.period_s * 1e9))
        self.take(labels, header)


class _Labelling:
    """What labels, in a thread of its own, for every camera of this process in one batch."""

    def __init__(self, segmenter) -> None:
        self._segmenter = segmenter
        self.inputs: tuple[str, ...] = segmenter.inputs
        self.worker = LatestWorker(self._label, GATHER_S)

    def _label(
        self, sets: list[tuple[dict[str, np.ndarray], Header, int]]
    ) -> list[tuple[np.ndarray, Header, int]]:
        frames, headers, submitted_ns = zip(*sets, strict=True)
        return list(zip(self._segmenter.predict_batch(frames), headers, submitted_ns, strict=True))


# The nodes of one process share a network; it goes with the last of them.
_labellings: WeakValueDictionary[tuple, _Labelling] = WeakValueDictionary()


def _shared_labelling(backend: str, *settings: object) -> _Labelling:
    key = (_create_segmenter, backend, *settings)
    labelling = _labellings.get(key)
    if labelling is None:
        labelling = _labellings[key] = _Labelling(_create_segmenter(backend, *settings))
    return labelling


def _create_segmenter(backend: str, model: str, threads: int, precision: str):
    # Imported when chosen: torch alone costs a second and 200 MB.
    if backend == "network":
        from multismolvla.segmentation.predictor import Segmenter

        return Segmenter(threads=threads, precision=precision)
    from multismolvla.segmentation.transformers_segmenter import TransformersSegmenter

    return TransformersSegmenter(model)


def main() -> int:
    return run(SegmentationNode)
