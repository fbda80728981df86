"""The simulated cameras: raw frames of any streams of a scene, from as few passes as possible."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import mujoco
import numpy as np

from multismolvla.sim.labels import label_of_geom, temperature_of_geom
from multismolvla.sim.renderer import Renderer
from multismolvla.sim.sensors import BACKGROUND_C, SENSORS, Sensor, apparent_temperature_c
from multismolvla.streams import Stream, StreamTable


@dataclass(frozen=True)
class CameraSetup:
    """What the cameras need to know of a scene beside its model.

    Attributes:
        camera_of_view: MuJoCo's name of the camera of a view.
        labels: (ngeom,) uint8 index into `LABELS` of each geom.
        temperatures_c: (ngeom,) surface temperature of each geom, degrees Celsius.
        geom_groups: MuJoCo's groups of geoms that are drawn.
        mirrored: images have left and right exchanged; fx of the intrinsics is negative.
        full_quality: anti-aliasing, shadows and reflections as the model has them.
        prepared: what to enter while OpenGL's context copies the model's meshes.
    """

    camera_of_view: Callable[[str], str]
    labels: np.ndarray
    temperatures_c: np.ndarray
    geom_groups: tuple[int, ...] = (0, 1, 2)
    mirrored: bool = False
    full_quality: bool = False
    prepared: Callable[[mujoco.MjModel], AbstractContextManager] | None = None


def tabletop_setup(model: mujoco.MjModel) -> CameraSetup:
    """The tabletop's: the view `""` is the MJCF camera `top_camera`, `wrist` is `wrist_camera`.

    Raises:
        ValueError: a geom has no valid label.
    """
    ids = range(model.ngeom)
    return CameraSetup(
        camera_of_view=lambda view: f"{view or 'top'}_camera",
        labels=np.array([label_of_geom(model, i) for i in ids], np.uint8),
        temperatures_c=np.array([temperature_of_geom(model, i) for i in ids]),
    )


class Cameras:
    """Renders the streams of a table from the scene's cameras.

    Colour and depth of a view come from one pass; ground-truth labels and thermal from a second
    one that draws geom ids. Noise is seeded per stream and does not depend on what else is
    rendered.

    Render from one thread only, whichever renders first. `close` may come from any thread.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        table: StreamTable,
        seed: int = 0,
        setup: CameraSetup | None = None,
    ) -> None:
        """Check that the scene has every camera and label; nothing is rendered yet.

        Args:
            setup: of the scene; the tabletop's by default.

        Raises:
            ValueError: the scene lacks a view's camera, a geom has no valid label, or no camera of
                a stream's kind is simulated.
        """
        setup = setup or tabletop_setup(model)
        self._model = model
        self._streams = {stream.name: stream for stream in table}
        self._camera_ids = {
            stream.view: _camera_id(model, stream, setup.camera_of_view(stream.view))
            for stream in table
        }
        self.reseed(seed)
        # One row more than there are geoms: the last stands for "nothing", geom id -1.
        self._labels = np.append(setup.labels, 0).astype(np.uint8)
        temperatures = np.append(setup.temperatures_c, BACKGROUND_C)
        self._apparent_c = apparent_temperature_c(temperatures, self._labels).astype(np.float32)
        self._mirrored = setup.mirrored
        self._renderer = Renderer(
            model,
            height=max(stream.height for stream in table),
            width=max(stream.width for stream in table),
            geom_groups=setup.geom_groups,
            mirrored=setup.mirrored,
            full_quality=setup.full_quality,
            prepared=setup.prepared,
        )

    def reseed(self, seed: int) -> None:
        """Start the noise of every stream afresh; the same seed gives the same noise."""
        self._sensors = {
            name: _create_sensor(stream, seed) for name, stream in self._streams.items()
        }

    def render(
        self, data: mujoco.MjData, names: Sequence[str], time_s: float
    ) -> dict[str, np.ndarray]:
        """Return one raw frame per stream named.

        RGB (H, W, 3) uint8; depth (H, W) float32 metres along the optical axis, NaN = no return;
        thermal (H, W) float32 degrees Celsius; segmentation (H, W) uint8 labels.

        Args:
            data: the state to look at; positions must be up to date (`mj_forward`).
            names: streams of the table; only the passes that these need are rendered.
            time_s: simulated time; drives the drift of the thermal cameras.

        Raises:
            RenderingError: OpenGL does not start here; the message names the packages to install.
            RuntimeError: called after `close` or from a second thread.
            ValueError: a name is not in the table.
        """
        views: dict[tuple[str, int, int], dict[str, Stream]] = {}
        for name in names:
            stream = self._streams.get(name)
            if stream is None:
                known = ", ".join(self._streams)
                raise ValueError(f"cannot render unknown stream '{name}'; expected one of {known}")
            views.setdefault((stream.view, stream.height, stream.width), {})[stream.kind] = stream
        frames: dict[str, np.ndarray] = {}
        with self._renderer.lock:
            for (view, height, width), streams in views.items():
                self._renderer.look(data, self._camera_ids[view], height, width)
                frames.update(self._render_view(streams, time_s))
        return {name: frames[name] for name in names}

    def intrinsics(self, name: str) -> tuple[float, float, float, float]:
        """Return fx, fy, cx, cy of a stream in pixels; pixel centres have integer coordinates.

        fx is negative where images are mirrored: the optical frame's x still points right.
        """
        stream = self._streams[name]
        fovy_rad = math.radians(self._model.cam_fovy[self._camera_ids[stream.view]])
        focal = 0.5 * stream.height / math.tan(0.5 * fovy_rad)
        fx = -focal if self._mirrored else focal
        return fx, focal, 0.5 * (stream.width - 1), 0.5 * (stream.height - 1)

    def close(self) -> None:
        """Free what OpenGL holds; harmless when repeated or when nothing was ever rendered."""
        self._renderer.close()

    def _render_view(self, streams: dict[str, Stream], time_s: float) -> dict[str, np.ndarray]:
        """Render the streams of one view and size, given by kind; return frames by name."""
        raw: dict[str, np.ndarray | None] = {}
        wanted = {SENSORS[kind].picture for kind in streams}
        if wanted & {"rgb", "depth"}:
            raw["rgb"], raw["depth"] = self._renderer.colour_and_depth(
                colour="rgb" in wanted, depth="depth" in wanted
            )
        if wanted & {"thermal", "segmentation"}:
            geom_ids = self._renderer.geom_ids()
            raw["thermal"] = self._apparent_c[geom_ids]
            raw["segmentation"] = self._labels[geom_ids]
        frames = {}
        for kind, stream in streams.items():
            sensor = self._sensors[stream.name]
            picture = raw[SENSORS[kind].picture]
            frames[stream.name] = picture if sensor is None else sensor.expose(picture, time_s)
        return frames


def _camera_id(model: mujoco.MjModel, stream: Stream, name: str) -> int:
    camera_id = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, name)
    if camera_id < 0:
        known = ", ".join(model.camera(i).name for i in range(model.ncam)) or "none"
        raise ValueError(f"stream '{stream.name}' needs the camera '{name}'; the scene has {known}")
    return camera_id


def _create_sensor(stream: Stream, seed: int) -> Sensor | None:
    """Return what turns the perfect picture into the stream's frame; labels stay perfect."""
    known = SENSORS.get(stream.kind)
    if known is None:
        raise ValueError(
            f"stream '{stream.name}': the simulator has no camera of the kind '{stream.kind}'; "
            f"expected {', '.join(SENSORS)}"
        )
    if known.make is None:
        return None
    rng = np.random.default_rng([seed, zlib.crc32(stream.name.encode())])
    return known.make(rng, stream.height, stream.width)
