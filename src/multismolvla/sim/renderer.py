"""Passes over the scene: colour with depth, and geom ids, as numpy arrays."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import mujoco
import numpy as np

from multismolvla.sim.offscreen import OffscreenContext, missing_library

# On a processor these cost more than everything else together.
_EXPENSIVE = (
    mujoco.mjtRndFlag.mjRND_SHADOW,
    mujoco.mjtRndFlag.mjRND_REFLECTION,
    mujoco.mjtRndFlag.mjRND_HAZE,
    mujoco.mjtRndFlag.mjRND_FOG,
)
_MAX_GEOMS = 1000


class Renderer:
    """Draws a model from its cameras. `look` chooses the view, then each method is one pass.

    OpenGL contexts belong to a thread: the first call of `look` claims the calling thread, and
    every later call must come from it. Hold `lock` from `look` to the last pass.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        height: int,
        width: int,
        geom_groups: Sequence[int] = (0, 1, 2),
        mirrored: bool = False,
        full_quality: bool = False,
        prepared: Callable[[mujoco.MjModel], AbstractContextManager] | None = None,
    ) -> None:
        """Nothing of OpenGL happens here.

        Args:
            height, width: of the largest image, pixels.
            geom_groups: MuJoCo's groups of geoms that are drawn.
            mirrored: exchange left and right in every image.
            full_quality: anti-aliasing, shadows and reflections as the model has them.
            prepared: what to enter while OpenGL's context copies the model's meshes.
        """
        self.lock = threading.Lock()
        self._model = model
        self._size = width, height
        self._scene = mujoco.MjvScene(model, maxgeom=_MAX_GEOMS)
        self._full_quality = full_quality
        if not full_quality:
            for flag in _EXPENSIVE:
                self._scene.flags[flag] = 0
        self._prepared = prepared or contextlib.nullcontext
        self._option = mujoco.MjvOption()
        self._option.geomgroup[:] = [group in geom_groups for group in range(mujoco.mjNGROUP)]
        # OpenGL begins an image at its lowest row.
        self._upright = np.s_[::-1, ::-1] if mirrored else np.s_[::-1]
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._gl: OffscreenContext | None = None
        self._context: mujoco.MjrContext | None = None
        self._thread: int | None = None
        self._closed = False

    def look(self, data: mujoco.MjData, camera_id: int, height: int, width: int) -> None:
        """Point a camera at a state; the passes that follow draw what it sees.

        Raises:
            RenderingError: OpenGL does not start here; the message names the packages to install.
            RuntimeError: called after `close` or from a second thread.
        """
        self._start()
        self._camera.fixedcamid = camera_id
        self._viewport = mujoco.MjrRect(0, 0, width, height)
        categories = mujoco.mjtCatBit.mjCAT_ALL
        mujoco.mjv_updateScene(
            self._model, data, self._option, None, self._camera, categories, self._scene
        )

    def colour_and_depth(
        self, colour: bool, depth: bool
    ) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Return colour (H, W, 3) uint8 and depth (H, W) float32 metres, None where not requested.

        Depth is the distance along the optical axis, up to the far plane where there is nothing.
        """
        shape = self._viewport.height, self._viewport.width
        picture = np.empty((*shape, 3), np.uint8) if colour else None
        buffer = np.empty(shape, np.float32) if depth else None
        mujoco.mjr_render(self._viewport, self._scene, self._context)
        mujoco.mjr_readPixels(picture, buffer, self._viewport, self._context)
        return (
            picture[self._upright] if colour else None,
            self._to_metres(buffer[self._upright]) if depth else None,
        )

    def geom_ids(self) -> np.ndarray:
        """Return the id of the geom in each pixel, (H, W) int32; -1 where there is none."""
        flags = self._scene.flags
        for item in self._scene.geoms[: self._scene.ngeom]:
            # A site hides no geom: MuJoCo leaves out what has no id.
            if item.objtype == mujoco.mjtObj.mjOBJ_SITE:
                item.segid = -1
        colours = np.empty((self._viewport.height, self._viewport.width, 3), np.uint8)
        flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = flags[mujoco.mjtRndFlag.mjRND_IDCOLOR] = 1
        mujoco.mjr_render(self._viewport, self._scene, self._context)
        mujoco.mjr_readPixels(colours, None, self._viewport, self._context)
        flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = flags[mujoco.mjtRndFlag.mjRND_IDCOLOR] = 0
        # The colour of an item of the scene is its segmentation id + 1, lowest byte in red.
        table = np.full(self._scene.ngeom + 1, -1, np.int32)
        for item in self._scene.geoms[: self._scene.ngeom]:
            if item.segid >= 0 and item.objtype == mujoco.mjtObj.mjOBJ_GEOM:
                table[item.segid + 1] = item.objid
        return table[colours[self._upright] @ np.array([1, 256, 65536], np.int32)]

    def close(self) -> None:
        """Free what OpenGL holds; harmless when repeated or when nothing was ever drawn."""
        with self.lock:
            self._closed = True
            if self._gl is None:
                return
            # Buffers can only be freed where the context is current; elsewhere they go with it.
            if threading.get_ident() == self._thread:
                self._gl.make_current()
                self._context.free()
            self._gl.free()
            self._gl = self._context = None

    def _to_metres(self, buffer: np.ndarray) -> np.ndarray:
        # MuJoCo's buffer is reversed: 1 at the near plane, 0 at the far plane.
        extent = self._model.stat.extent
        near = self._model.vis.map.znear * extent
        ratio = near / (self._model.vis.map.zfar * extent)
        return np.float32(near) / (np.float32(ratio) + buffer * np.float32(1.0 - ratio))

    def _start(self) -> None:
        if self._closed:
            raise RuntimeError("the cameras are closed; create new ones to render")
        if self._thread is not None:
            if self._thread != threading.get_ident():
                raise RuntimeError(
                    "the cameras belong to the thread that rendered first; "
                    "create others for this thread"
                )
            self._gl.make_current()
            return
        gl = OffscreenContext(*self._size, self.lock)
        quality = self._model.vis.quality
        saved = quality.offsamples, quality.shadowsize
        if not self._full_quality:
            quality.offsamples = quality.shadowsize = 0
        try:
            with self._prepared(self._model):
                context = mujoco.MjrContext(self._model, mujoco.mjtFontScale.mjFONTSCALE_100)
        except mujoco.FatalError as error:
            gl.free()
            raise missing_library(error) from error
        finally:
            quality.offsamples, quality.shadowsize = saved
        mujoco.mjr_resizeOffscreen(*self._size, context)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, context)
        context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        self._gl, self._context, self._thread = gl, context, threading.get_ident()
