"""An OpenGL context without a window, and one clear error where the machine cannot give one."""

from __future__ import annotations

import atexit
import importlib
import os
import weakref

# Debian's smallest working set; libegl1 alone finds no driver.
_PACKAGES = "libegl1 libopengl0 libgl1-mesa-dri"
_BACKENDS = ("egl", "osmesa", "glfw")

_open_contexts: weakref.WeakSet = weakref.WeakSet()


class RenderingError(RuntimeError):
    """This machine cannot render; the message says what is missing and how to get it."""


def choose_backend() -> str:
    """Return the OpenGL backend: `MUJOCO_GL` where it is set, else by whether there is a display.

    Raises:
        RenderingError: MUJOCO_GL names no backend.
    """
    chosen = os.environ.get("MUJOCO_GL", "").strip().lower()
    if not chosen:
        has_display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        return "glfw" if has_display else "egl"
    if chosen not in _BACKENDS:
        raise RenderingError(
            f"MUJOCO_GL is '{chosen}'; expected {', '.join(_BACKENDS)}, or unset for a default"
        )
    return chosen


def create_context(width: int, height: int):
    """Create an OpenGL context and make it current in the calling thread.

    The backend is loaded here and not through the variable that `import mujoco` reads, so that
    physics runs on machines without any OpenGL library.

    Raises:
        RenderingError: the backend's libraries are missing or find no driver.
    """
    backend = choose_backend()
    try:
        context = importlib.import_module(f"mujoco.{backend}").GLContext(width, height)
        context.make_current()
    # PyOpenGL reports a missing library as an AttributeError of None.
    except (ImportError, AttributeError, OSError, RuntimeError) as error:
        raise missing_library(error) from error
    _open_contexts.add(context)
    return context


def missing_library(error: Exception) -> RenderingError:
    """Return the error for a machine on which OpenGL does not start."""
    return RenderingError(
        f"cannot render with MUJOCO_GL={choose_backend()} ({error}); "
        f"install the software renderer: apt-get install {_PACKAGES}"
    )


@atexit.register
def _free_open_contexts() -> None:
    # A context that outlives its library's own exit handler prints a traceback from __del__.
    for context in list(_open_contexts):
        context.free()
