"""The simulated cameras: raw frames of every stream of the table, from as few passes as possible."""

from __future__ import annotations

import math
import threading
import zlib
from collections.abc import Sequence

import mujoco
import numpy as np

from multismolvla.sim.depth_sensor import DepthSensor
from multismolvla.sim.labels import label_of_geom, temperature_of_geom
from multismolvla.sim.offscreen import RenderingError, create_context, missing_library
from multismolvla.sim.rgb_sensor import RgbSensor
from multismolvla.sim.thermal_sensor import BACKGROUND_C, ThermalSensor, apparent_temperature_c
from multismolvla.streams import Stream, StreamTable

# On a processor these cost more than everything else together.
_EXPENSIVE = (
    mujoco.mjtRndFlag.mjRND_SHADOW,
    mujoco.mjtRndFlag.mjRND_REFLECTION,
    mujoco.mjtRndFlag.mjRND_HAZE,
    mujoco.mjtRndFlag.mjRND_FOG,
)
_MAX_GEOMS = 1000


class Cameras:
    """Renders the streams of a table from the scene's cameras.

    The view `""` is the MJCF camera `top_camera`, the view `wrist` is `wrist_camera`. Colour and
    depth of a view come from one pass; ground-truth labels and thermal from a second one that
    draws geom ids. Noise is seeded per stream and does not depend on what else is rendered.

    OpenGL contexts belong to a thread: the first call of `render` claims the calling thread, and
    every later call must come from it.
    """

    def __init__(self, model: mujoco.MjModel, table: StreamTable, seed: int = 0) -> None:
        """Check that the scene has every camera and label; nothing is rendered yet.

        Raises:
            ValueError: the scene lacks a view's camera, or a geom has no valid label.
        """
        self._model = model
        self._streams = {stream.name: stream for stream in table}
        self._camera_ids = {stream.view: _camera_id(model, stream) for stream in table}
        self._sensors = {stream.name: _create_sensor(stream, seed) for stream in table}
        # One row more than there are geoms: the last stands for "nothing", geom id -1.
        ids = range(model.ngeom)
        self._labels = np.array([*(label_of_geom(model, i) for i in ids), 0], np.uint8)
        temperatures = np.array([*(temperature_of_geom(model, i) for i in ids), BACKGROUND_C])
        self._apparent_c = apparent_temperature_c(temperatures, self._labels).astype(np.float32)
        self._scene = mujoco.MjvScene(model, maxgeom=_MAX_GEOMS)
        self._option = mujoco.MjvOption()
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        for flag in _EXPENSIVE:
            self._scene.flags[flag] = 0
        self._gl = None
        self._context: mujoco.MjrContext | None = None
        self._thread: int | None = None
        self._closed = False

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
        self._start()
        frames: dict[str, np.ndarray] = {}
        passes: dict[tuple[str, int, int], list[Stream]] = {}
        for name in names:
            stream = self._streams.get(name)
            if stream is None:
                known = ", ".join(self._streams)
                raise ValueError(f"cannot render unknown stream '{name}'; expected one of {known}")
            passes.setdefault((stream.view, stream.height, stream.width), []).append(stream)
        for (view, height, width), streams in passes.items():
            self._camera.fixedcamid = self._camera_ids[view]
            mujoco.mjv_updateScene(
                self._model,
                data,
                self._option,
                None,
                self._camera,
                mujoco.mjtCatBit.mjCAT_ALL,
                self._scene,
            )
            viewport = mujoco.MjrRect(0, 0, width, height)
            by_kind = {stream.kind: stream for stream in streams}
            if "rgb" in by_kind or "depth" in by_kind:
                self._render_colour_and_depth(by_kind, viewport, frames)
            if "thermal" in by_kind or "segmentation" in by_kind:
                self._render_labels_and_thermal(by_kind, viewport, time_s, frames)
        return {name: frames[name] for name in names}

    def intrinsics(self, name: str) -> tuple[float, float, float, float]:
        """Return fx, fy, cx, cy of a stream in pixels; pixel centres have integer coordinates."""
        stream = self._streams[name]
        fovy_rad = math.radians(self._model.cam_fovy[self._camera_ids[stream.view]])
        focal = 0.5 * stream.height / math.tan(0.5 * fovy_rad)
        return focal, focal, 0.5 * (stream.width - 1), 0.5 * (stream.height - 1)

    def close(self) -> None:
        """Free what OpenGL holds; harmless when repeated or when nothing was ever rendered."""
        self._closed = True
        if self._gl is None:
            return
        # Buffers can only be freed where the context is current; elsewhere they go with it.
        if threading.get_ident() == self._thread:
            self._context.free()
        self._gl.free()
        self._gl = self._context = None

    def _start(self) -> None:
        if self._closed:
            raise RuntimeError("the cameras are closed; create new ones to render")
        if self._thread is not None:
            if self._thread != threading.get_ident():
                raise RuntimeError(
                    "the cameras belong to the thread that rendered first; "
                    "create others for this thread"
                )
            return
        width = max(stream.width for stream in self._streams.values())
        height = max(stream.height for stream in self._streams.values())
        gl = create_context(width, height)
        quality = self._model.vis.quality
        saved = quality.offsamples, quality.shadowsize
        # Anti-aliasing would also blend geom ids into ids of other geoms.
        quality.offsamples = quality.shadowsize = 0
        try:
            context = mujoco.MjrContext(self._model, mujoco.mjtFontScale.mjFONTSCALE_100)
        except mujoco.FatalError as error:
            gl.free()
            raise missing_library(error) from error
        finally:
            quality.offsamples, quality.shadowsize = saved
        mujoco.mjr_resizeOffscreen(width, height, context)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, context)
        context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        self._gl, self._context, self._thread = gl, context, threading.get_ident()

    def _render_colour_and_depth(
        self, by_kind: dict[str, Stream], viewport: mujoco.MjrRect, frames: dict[str, np.ndarray]
    ) -> None:
        shape = viewport.height, viewport.width
        picture = np.empty((*shape, 3), np.uint8) if "rgb" in by_kind else None
        buffer = np.empty(shape, np.float32) if "depth" in by_kind else None
        mujoco.mjr_render(viewport, self._scene, self._context)
        mujoco.mjr_readPixels(picture, buffer, viewport, self._context)
        if picture is not None:
            name = by_kind["rgb"].name
            frames[name] = self._sensors[name].expose(picture[::-1])
        if buffer is not None:
            name = by_kind["depth"].name
            frames[name] = self._sensors[name].expose(self._to_metres(buffer[::-1]))

    def _to_metres(self, buffer: np.ndarray) -> np.ndarray:
        # MuJoCo's buffer is reversed: 1 at the near plane, 0 at the far plane.
        extent = self._model.stat.extent
        near = self._model.vis.map.znear * extent
        ratio = near / (self._model.vis.map.zfar * extent)
        return np.float32(near) / (np.float32(ratio) + buffer * np.float32(1.0 - ratio))

    def _render_labels_and_thermal(
        self,
        by_kind: dict[str, Stream],
        viewport: mujoco.MjrRect,
        time_s: float,
        frames: dict[str, np.ndarray],
    ) -> None:
        flags = self._scene.flags
        flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = flags[mujoco.mjtRndFlag.mjRND_IDCOLOR] = 1
        colours = np.empty((viewport.height, viewport.width, 3), np.uint8)
        mujoco.mjr_render(viewport, self._scene, self._context)
        mujoco.mjr_readPixels(colours, None, viewport, self._context)
        flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = flags[mujoco.mjtRndFlag.mjRND_IDCOLOR] = 0
        geom_ids = self._geom_ids(colours[::-1])
        if "segmentation" in by_kind:
            frames[by_kind["segmentation"].name] = self._labels[geom_ids]
        if "thermal" in by_kind:
            name = by_kind["thermal"].name
            frames[name] = self._sensors[name].expose(self._apparent_c[geom_ids], time_s)

    def _geom_ids(self, colours: np.ndarray) -> np.ndarray:
        """Turn id colours (H, W, 3) uint8 into geom ids (H, W); -1 where there is no geom."""
        # The colour of an item of the scene is its segmentation id + 1, lowest byte in red.
        table = np.full(self._scene.ngeom + 1, -1, np.int32)
        for item in self._scene.geoms[: self._scene.ngeom]:
            if item.segid >= 0 and item.objtype == mujoco.mjtObj.mjOBJ_GEOM:
                table[item.segid + 1] = item.objid
        return table[colours @ np.array([1, 256, 65536], np.int32)]


def _camera_id(model: mujoco.MjModel, stream: Stream) -> int:
    name = f"{stream.view or 'top'}_camera"
    camera_id = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, name)
    if camera_id < 0:
        known = ", ".join(model.camera(i).name for i in range(model.ncam)) or "none"
        raise ValueError(
            f"stream '{stream.name}' needs the camera '{name}'; the scene has {known}"
        )
    return camera_id


def _create_sensor(stream: Stream, seed: int) -> RgbSensor | DepthSensor | ThermalSensor | None:
    rng = np.random.default_rng([seed, zlib.crc32(stream.name.encode())])
    if stream.kind == "rgb":
        return RgbSensor(rng)
    if stream.kind == "depth":
        return DepthSensor(rng)
    if stream.kind == "thermal":
        return ThermalSensor(rng, stream.height, stream.width)
    return None


__all__ = ["Cameras", "RenderingError"]
