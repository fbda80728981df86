"""The page: cameras with their masks, health, the arm, and what a person may press.

Everything is shared: two browsers show, and press, the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from multismolvla.monitoring.health_panel import Light
from multismolvla.monitoring.page_html import note_html
from multismolvla.monitoring.urdf import RobotShapes
from multismolvla.web.arm_scene import ArmScene
from multismolvla.web.server import start_server

CAMERAS_PX, CONTROLS_PX = 430, 360
# What a button that kills a stream does unless something else is chosen.
UNPLUGGED = "drop"
TOP = "top"


@dataclass(frozen=True)
class Actions:
    """What is called when something is pressed, from a thread of the server's."""

    set_task: Callable[[str], None]
    stop: Callable[[], None]
    resume: Callable[[], None]
    # Stream, fault, severity.
    kill: Callable[[str, str, int], None]
    mend: Callable[[str], None]
    mend_all: Callable[[], None]


class Breakable(NamedTuple):
    """What the injector does to a stream, and whether it can do anything to it."""

    fault: str | None
    possible: bool


class Page:
    """Served from the moment it is made.

    Args:
        host, port: where; port 0 takes any free one.
        views: cameras, `top` first.
        streams: what may be killed.
        faults: names of faults to choose from, `drop` first.

    Raises:
        PageError: it cannot be served there, or viser is not installed.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        title: str,
        robot: RobotShapes,
        views: Sequence[str],
        streams: Sequence[str],
        faults: Sequence[str],
        actions: Actions,
    ) -> None:
        self._server = start_server(host, port, title)
        self._actions = actions
        self.arm = ArmScene(self._server, robot)
        gui = self._server.gui
        gui.configure_theme(dark_mode=True, show_logo=False, show_share_button=False)
        cameras = gui.add_panel()
        with cameras.add_tab("Cameras and health"):
            self._view = gui.add_dropdown("View", tuple(views))
            self._image = gui.add_image(np.zeros((2, 2, 3), np.uint8), jpeg_quality=85)
            self._timeline = gui.add_html("")
        cameras.dock_left()
        cameras.set_width(CAMERAS_PX)
        gui.main_panel.dock_right()
        gui.main_panel.set_width(CONTROLS_PX)
        self._verdict = gui.add_html("")
        self._answer = gui.add_html("")
        self._add_robot(gui)
        self._add_faults(gui, streams, faults)
        with gui.add_folder("Policy"):
            self._plots = gui.add_html("")

    def _add_robot(self, gui: Any) -> None:
        with gui.add_folder("Robot"):
            self._doing = gui.add_html("")
            self._task = gui.add_text("Instruction", "")
            send = gui.add_button("Send instruction")
            idle = gui.add_button("No task", color="gray")
            stop = gui.add_button("STOP the arm", color="red")
            resume = gui.add_button("Resume", color="gray")
        send.on_click(lambda _: self._actions.set_task(self._task.value))
        idle.on_click(lambda _: self._actions.set_task(""))
        stop.on_click(lambda _: self._actions.stop())
        resume.on_click(lambda _: self._actions.resume())

    def _add_faults(self, gui: Any, streams: Sequence[str], faults: Sequence[str]) -> None:
        with gui.add_folder("Break sensors"):
            self._injector = gui.add_html("")
            self._fault = gui.add_dropdown("Fault", tuple(faults), initial_value=UNPLUGGED)
            self._severity = gui.add_slider("Severity", min=1, max=5, step=1, initial_value=3)
            self._mend_all = gui.add_button("Mend everything", color="green")
            self._buttons = {name: gui.add_button(f"Kill {name}") for name in streams}
        self._mend_all.on_click(lambda _: self._actions.mend_all())
        for name, button in self._buttons.items():
            button.on_click(lambda _, name=name: self._press(name))
        self._broken: Mapping[str, Breakable] = {}

    def _press(self, name: str) -> None:
        now = self._broken.get(name)
        if now is not None and now.fault is not None:
            self._actions.mend(name)
        else:
            self._actions.kill(name, self._fault.value, int(self._severity.value))

    @property
    def watched(self) -> bool:
        """Whether a browser shows the page."""
        return bool(self._server.get_clients())

    @property
    def url(self) -> str:
        """Where a browser on this machine finds it."""
        host = self._server.get_host()
        host = "localhost" if host in ("0.0.0.0", "::") else host
        return f"http://{f'[{host}]' if ':' in host else host}:{self._server.get_port()}"

    @property
    def view(self) -> str:
        """The camera that is chosen."""
        return self._view.value

    def show_cameras(self, picture: np.ndarray) -> None:
        """Show the pictures of the chosen camera: (H, W, 3) uint8, RGB."""
        self._image.image = picture

    def show_health(self, verdict: str, timeline: str) -> None:
        """Show the verdict and the streams, as HTML."""
        self._verdict.content, self._timeline.content = verdict, timeline

    def show_task(self, mode: str, task: str) -> None:
        """Show what the policy does."""
        self._doing.content = note_html("doing", f"{mode}: {task or 'no task'}", Light.IDLE)

    def show_plots(self, plots: str) -> None:
        """Show how the policy does, as HTML."""
        self._plots.content = plots

    def answer(self, text: str, light: Light) -> None:
        """Show the result of a button."""
        self._answer.content = note_html("answer", text, light)

    def show_injector(self, breakable: Mapping[str, Breakable], note: str, light: Light) -> None:
        """Show what is broken; without an injector `breakable` is empty."""
        self._broken = dict(breakable)
        self._injector.content = note_html("injector", note, light)
        for handle in (self._fault, self._severity, self._mend_all):
            handle.disabled = not breakable
        for name, button in self._buttons.items():
            stream = breakable.get(name)
            broken = stream is not None and stream.fault is not None
            button.disabled = stream is None or not (stream.possible or broken)
            button.label = f"Mend {name} ({stream.fault})" if broken else f"Kill {name}"
            button.color = "green" if broken else "red"

    def close(self) -> None:
        """End the server."""
        self._server.stop()
