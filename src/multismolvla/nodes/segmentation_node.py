"""Labels a camera's images from whichever of its healthy streams have one of an instant."""

from __future__ import annotations

import numpy as np
from message_filters import Subscriber
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from multismolvla.nodes.latest_worker import LatestWorker
from multismolvla.nodes.parameters import ParameterError, declare
from multismolvla.nodes.run import run
from multismolvla.nodes.sensor_node import SensorNode
from multismolvla.nodes.stream_status import StatusMonitor, StreamStatus
from multismolvla.nodes.stream_synchronizer import StreamSynchronizer
from multismolvla.sensing.conditioning import resize
from multismolvla.sensing.derived_health import DerivedHealth
from multismolvla.sensing.health import StreamHealth
from multismolvla.sensing.synchronizer import SynchronizedSet
from multismolvla.sensing.thresholds import Thresholds

GROUND_TRUTH = "ground_truth"
BACKENDS = ("network", GROUND_TRUTH, "transformers")
_ENCODINGS = {"rgb": "rgb8", "depth": "32FC1", "thermal": "32FC1"}


class SegmentationNode(SensorNode):
    """Publishes `segmentation/image`, made of the conditioned images of the same camera.

    The stream inherits the health of its sources: it is lost when the last of them is. Labelling
    has its own thread and always takes the newest set. The backend `ground_truth` instead passes
    on a simulator's `segmentation/image_raw`, which has a health of its own.
    """

    kind = "segmentation"
    accepted = ("mono8", "8UC1")
    encoding = "mono8"

    def declare_source(self) -> None:
        self._backend = declare(
            self, "backend", "network", "What labels.", choices=BACKENDS, read_only=True
        )
        model = declare(
            self, "model", "", "Model by name, for the backend transformers.", read_only=True
        )
        threads = declare(
            self, "threads", 1, "Processor threads.", minimum=1, maximum=64, read_only=True
        )
        self._slop_s = declare(
            self,
            "slop_s",
            0.02,
            "Greatest distance of stamps within a set, seconds.",
            minimum=0.001,
            maximum=1.0,
            read_only=True,
        )
        self._max_wait_s = declare(
            self,
            "max_wait_s",
            0.03,
            "Wait for the image of a healthy source, seconds.",
            minimum=0.0,
            maximum=1.0,
            read_only=True,
        )
        self._segmenter = _create_segmenter(self._backend, model, threads)

    def create_health(self, thresholds: Thresholds) -> StreamHealth:
        if self._backend == GROUND_TRUTH:
            return super().create_health(thresholds)
        kinds = [name.rpartition("/")[2] for name in self._stream.derived_from]
        # Sources by kind: their topics are relative to this node's namespace.
        self._sources = [kind for kind in self._segmenter.inputs if kind in kinds]
        if not self._sources:
            raise ParameterError(
                f"{self.get_fully_qualified_name()}: stream '{self._stream.name}' is derived from "
                f"{', '.join(self._stream.derived_from) or 'nothing'} in the stream table; backend "
                f"'{self._backend}' needs one of {', '.join(self._segmenter.inputs)}"
            )
        return DerivedHealth(self.kind, self._stream.rate_hz, self._sources, thresholds)

    def connect(self) -> None:
        if self._backend == GROUND_TRUTH:
            super().connect()
            return
        self._worker = LatestWorker(self, self._label, self._on_labels)
        self._synchronizer = StreamSynchronizer(
            self,
            {
                kind: Subscriber(self, Image, f"{kind}/image", qos_profile=qos_profile_sensor_data)
                for kind in self._sources
            },
            slop_s=self._slop_s,
            max_wait_s=self._max_wait_s,
            statuses=StatusMonitor(self, self._sources, self._on_source),
        )
        self._synchronizer.registerCallback(self._worker.submit)
        # All images of a camera share its geometry; any source's is the labels' too.
        self.create_subscription(
            CameraInfo,
            f"{self._sources[0]}/image/camera_info",
            self._on_camera_info,
            qos_profile_sensor_data,
        )
        self.get_logger().info(
            f"{self._stream.name}: waiting for images of {', '.join(self._sources)}"
        )

    def destroy_node(self) -> None:
        if self._backend != GROUND_TRUTH:
            self._worker.close()
        super().destroy_node()

    def _on_source(self, source: str, status: StreamStatus) -> None:
        before = self._health.state, self._health.reasons
        self._health.set_source(source, status.state, status.reasons)
        if (self._health.state, self._health.reasons) != before:
            self._status.changed()

    def _label(self, images: SynchronizedSet) -> tuple[np.ndarray, Header]:
        """Label a set, in the worker's thread."""
        frames = {
            kind: resize(
                kind,
                self._bridge.imgmsg_to_cv2(message, _ENCODINGS[kind]),
                self._stream.height,
                self._stream.width,
            )
            for kind, message in images.messages.items()
            if message is not None
        }
        return self._segmenter.predict(frames), images.messages[images.reference].header

    def _on_labels(self, result: tuple[np.ndarray, Header] | None, error: Exception | None) -> None:
        if result is None:
            self.refuse(f"cannot label: {' '.join(str(error).split())}")
        else:
            self.take(*result)


def _create_segmenter(backend: str, model: str, threads: int):
    # Imported when chosen: torch alone costs a second and 200 MB.
    if backend == "network":
        from multismolvla.segmentation.predictor import Segmenter

        return Segmenter(threads=threads)
    if backend == "transformers":
        from multismolvla.segmentation.transformers_segmenter import TransformersSegmenter

        return TransformersSegmenter(model)
    return None


def main() -> int:
    return run(SegmentationNode)
