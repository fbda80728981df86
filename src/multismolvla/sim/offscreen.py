"""An OpenGL context without a window, and one clear error where the machine cannot give one."""

from __future__ import annotations

import atexit
import functools
import importlib
import os
import threading
import weakref

# Debian's smallest working set; libegl1 alone finds no driver.
_PACKAGES = "libegl1 libopengl0 libgl1-mesa-dri"
_BACKENDS = ("egl", "osmesa", "glfw")

# A pass takes milliseconds; a process that ends does not wait long for one that hangs.
_EXIT_TIMEOUT_S = 1.0

# Mesa's software renderer spreads a picture over all processors. A small one takes a fifth more
# processor time so, and twice as long where the threads have to wait for processors.
_ONE_THREAD_PIXELS = 160 * 160

_open_contexts: weakref.WeakSet = weakref.WeakSet()
# Of each thread, `context`: a weak reference to the one that OpenGL's calls go to.
_current = threading.local()


class RenderingError(RuntimeError):
    """This machine cannot render; the message says what is missing and how to get it."""


def choose_backend() -> str:
    """Return the OpenGL backend: `MUJOCO_GL` where it is set, else egl, which needs no display.

    Raises:
        RenderingError: MUJOCO_GL names no backend.
    """
    chosen = os.environ.get("MUJOCO_GL", "").strip().lower() or "egl"
    if chosen not in _BACKENDS:
        raise RenderingError(
            f"MUJOCO_GL is '{chosen}'; expected {', '.join(_BACKENDS)}, or unset for egl"
        )
    return chosen


class OffscreenContext:
    """An OpenGL context of the thread that created it, current there until another one is.

    Its owner holds `lock` around every OpenGL call: the exit handler takes it and keeps it, so that
    a daemon thread that is still rendering when the process ends stops there instead of crashing.
    """

    def __init__(self, width: int, height: int, lock: threading.Lock) -> None:
        """Create the context and make it current in the calling thread.

        The backend is loaded here and not through the variable that `import mujoco` reads, so that
        physics runs on machines without any OpenGL library.

        Raises:
            RenderingError: the backend's libraries are missing or find no driver.
        """
        self.lock = lock
        backend = choose_backend()
        if width * height <= _ONE_THREAD_PIXELS:
            # Mesa reads it when it is loaded.
            os.environ.setdefault("LP_NUM_THREADS", "0")
        try:
            self._gl = importlib.import_module(f"mujoco.{backend}").GLContext(width, height)
            self.make_current()
        # PyOpenGL reports a missing library as an AttributeError of None.
        except (ImportError, AttributeError, OSError, RuntimeError) as error:
            raise missing_library(error) from error
        _open_contexts.add(self)
        _free_contexts_at_exit()

    def make_current(self) -> None:
        """Have OpenGL's calls of this thread go here; only in the thread that created it."""
        current = getattr(_current, "context", None)
        if current is None or current() is not self:
            self._gl.make_current()
            _current.context = weakref.ref(self)

    def free(self) -> None:
        """Destroy the context; harmless when repeated."""
        self._gl.free()
        _forget_current()
        _open_contexts.discard(self)

    def __del__(self) -> None:
        # MuJoCo's own context frees itself now, in whichever thread this is.
        _forget_current()


def _forget_current() -> None:
    """A context that is freed takes the thread's current one along, even if that is another:
    `eglReleaseThread`."""
    if _current is not None:  # the interpreter may be ending
        _current.context = None


def missing_library(error: Exception) -> RenderingError:
    """Return the error for a machine on which OpenGL does not start."""
    return RenderingError(
        f"cannot render with MUJOCO_GL={choose_backend()} ({error}); "
        f"install the software renderer: apt-get install {_PACKAGES}"
    )


@functools.cache
def _free_contexts_at_exit() -> None:
    """Spare the user tracebacks from contexts that outlive their library's own exit handler.

    Exit handlers run last in, first out, and the library's is registered by the first context.
    """

    @atexit.register
    def free() -> None:
        for context in list(_open_contexts):
            context.lock.acquire(timeout=_EXIT_TIMEOUT_S)
            context.free()
