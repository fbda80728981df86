"""Labels a camera's images from whichever of its healthy streams have one of an instant."""

from __future__ import annotations

import time
from functools import partial
from weakref import WeakValueDictionary

import numpy as np
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

from multismolvla.control.load_shedding import SEGMENTATION_RATE, Load
from multismolvla.modalities.camera_image import frame_in_units
from multismolvla.modalities.modality import Counts, Modality
from multismolvla.modalities.registry import find_modality
from multismolvla.modalities.thresholds import Thresholds
from multismolvla.nodes.deadline_timer import DeadlineTimer
from multismolvla.nodes.latest_worker import LatestWorker
from multismolvla.nodes.parameters import ParameterError, declare_settings
from multismolvla.nodes.run import run
from multismolvla.nodes.sensor_node import SensorNode
from multismolvla.nodes.stamp_ns import stamp_ns
from multismolvla.nodes.status_monitor import StatusMonitor
from multismolvla.one_line import one_line
from multismolvla.sensing.reported_health import StreamStatus
from multismolvla.stack.labeller import Instant, Labeller, label_sources
from multismolvla.stack.settings import GROUND_TRUTH, LabellerSettings
from multismolvla.stack.stream_pipe import StreamPipe

# Cameras that are triggered together have their sets ready within this time of one another.
GATHER_S = 0.01


class SegmentationNode(SensorNode):
    """Publishes `segmentation/image`, made of the conditioned images of the same camera.

    The stream inherits the health of its sources: it is lost when the last of them is. Labelling
    has its own thread, which the nodes of a process share, and always takes the newest sets. The
    backend `ground_truth` instead passes on a simulator's `segmentation/image_raw`, which has a
    health of its own.
    """

    kind = "segmentation"

    def declare_source(self) -> None:
        self._settings = settings = declare_settings(self, LabellerSettings())
        self._labeller = None
        if settings.backend != GROUND_TRUTH:
            self._labelling = _shared_labelling(
                settings.backend, settings.model, settings.threads, settings.precision
            )

    def create_pipe(self, thresholds: Thresholds, counts: Counts) -> StreamPipe:
        if self._settings.backend == GROUND_TRUTH:
            return super().create_pipe(thresholds, counts)
        try:
            sources = label_sources(self._stream, self._labelling.inputs, self._table)
        except ValueError as error:
            raise ParameterError(
                f"{self.get_fully_qualified_name()}: {error}; the backend is "
                f"'{self._settings.backend}'"
            ) from None
        # By kind: their topics are relative to this node's namespace.
        kinds = {kind: kind for kind in sources.values()}
        self._labeller = Labeller(self._stream, kinds, self._settings, thresholds)
        return StreamPipe(self._stream, thresholds, counts, self._labeller.health)

    def connect(self) -> None:
        if self._labeller is None:
            super().connect()
            return
        kinds = list(self._labeller.sources)
        self._worker = self._labelling.worker.join(self, self._on_labels)
        self._deadline = DeadlineTimer(self, self._on_deadline)
        for kind in kinds:
            self.create_subscription(
                Image,
                f"{kind}/image",
                partial(self._on_frame, find_modality(kind)),
                qos_profile_sensor_data,
            )
        # After the images, as without ROS: one that brings its stream into use is not used itself.
        self._statuses = StatusMonitor(self, kinds, self._on_source)
        # All images of a camera share its geometry; any source's is the labels' too.
        self.follow_camera_info(f"{kinds[0]}/image/camera_info")
        self.get_logger().info(f"{self._stream.name}: waiting for images of {', '.join(kinds)}")

    def destroy_node(self) -> None:
        if self._labeller is not None:
            self._worker.close()
        super().destroy_node()

    def _on_load(self, load: Load) -> None:
        super()._on_load(load)
        if self._labeller is not None:
            # The same windows as the policy's, so that both choose the same images.
            fewer = SEGMENTATION_RATE in load.shed
            self._labeller.relax(load.lag_s, 2.0 * self._stream.period_s if fewer else 0.0)

    def _on_source(self, kind: str, status: StreamStatus) -> None:
        now_ns = self._now_ns()
        self._submit(self._labeller.set_source(kind, status.state, status.reasons, now_ns))
        self.update_status()

    def _on_frame(self, modality: Modality, message: Image) -> None:
        try:
            frame = frame_in_units(modality, message)
        except ValueError as error:
            self._on_labels(None, error)
            return
        header, now_ns = message.header, self._now_ns()
        stamp = stamp_ns(header.stamp)
        self._submit(self._labeller.add(modality.name, stamp, frame, now_ns, origin=header))

    def _on_deadline(self) -> None:
        self._submit(self._labeller.tick(self._now_ns()))

    def _submit(self, instants: list[Instant]) -> None:
        self._deadline.set(self._labeller.deadline_ns)
        for instant in instants:
            self._worker.submit((instant, time.monotonic_ns()))

    def _on_labels(
        self, result: tuple[np.ndarray, Instant, int] | None, error: Exception | None
    ) -> None:
        if result is None:
            self.refuse(f"cannot label: {one_line(error)}")
            return
        labels, instant, submitted_ns = result
        now_ns = time.monotonic_ns()
        # Labels that take no longer than the next images to come are in time.
        self._lag.note(now_ns, now_ns - submitted_ns - round(self._stream.period_s * 1e9))
        self.take(labels, instant.origin)


class _Labelling:
    """What labels, in a thread of its own, for every camera of this process in one batch."""

    def __init__(self, segmenter) -> None:
        self._segmenter = segmenter
        self.inputs: tuple[str, ...] = segmenter.inputs
        self.worker = LatestWorker(self._label, GATHER_S)

    def _label(self, waiting: list[tuple[Instant, int]]) -> list[tuple[np.ndarray, Instant, int]]:
        labels = self._segmenter.predict_batch([instant.frames for instant, _ in waiting])
        return [(made, *one) for made, one in zip(labels, waiting, strict=True)]


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
        from multismolvla.segmentation.weights import find_network

        return Segmenter(find_network(model), threads, precision)
    from multismolvla.segmentation.transformers_segmenter import TransformersSegmenter

    return TransformersSegmenter(model)


def main() -> int:
    return run(SegmentationNode)
