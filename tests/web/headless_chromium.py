"""A headless Chromium for a test, driven over its DevTools protocol."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from patience import HANG_S

FLAGS = (
    "--headless=new",
    # A page that is left is gone, with its connection, and not kept for the way back.
    "--disable-features=BackForwardCache",
    "--no-sandbox",
    "--disable-gpu",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
)


def find_chromium() -> str | None:
    """Path of the browser, None where there is none."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    return None


class Tab:
    """One page.

    Attributes:
        requested: address of every request that the page made.
    """

    def __init__(self, socket) -> None:
        self._socket = socket
        self._last = 0
        self.requested: list[str] = []
        self.call("Page.enable")
        self.call("Network.enable")

    def call(self, method: str, **parameters) -> dict:
        """Send a command and return its result."""
        self._last += 1
        self._socket.send(
            json.dumps({"id": self._last, "method": method, "params": parameters}), text=True
        )
        while True:
            message = json.loads(self._socket.recv(timeout=HANG_S))
            if message.get("method") == "Network.requestWillBeSent":
                self.requested.append(message["params"]["request"]["url"])
            elif message.get("method") == "Network.webSocketCreated":
                self.requested.append(message["params"]["url"])
            if message.get("id") == self._last:
                assert "error" not in message, message
                return message["result"]

    def evaluate(self, script: str):
        """Value of a JavaScript expression; a promise is waited for."""
        result = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def until(self, script: str, spin: Callable[[], None], timeout_s: float = HANG_S) -> None:
        """Wait until the expression is true; `spin` keeps going what the page needs meanwhile."""
        deadline = time.monotonic() + timeout_s
        while not self.evaluate(script):
            if time.monotonic() > deadline:
                said = self.evaluate("document.body.innerText")
                pytest.fail(f"not true within {timeout_s} s: {script}\nThe page says:\n{said}")
            spin()

    def press(self, text: str) -> None:
        """Click the button with this text."""
        self.evaluate(
            "[...document.querySelectorAll('button')]"
            f".find(button => button.innerText.trim() === {json.dumps(text)}).click()"
        )


@contextmanager
def open_tab(url: str, profile: Path, size: tuple[int, int]) -> Iterator[Tab]:
    """Start the browser on an address; it ends with the block.

    Args:
        profile: an empty folder.
        size: of the page, pixels.
    """
    from websockets.sync.client import connect

    command = [find_chromium(), *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        where = profile / "DevToolsActivePort"
        deadline = time.monotonic() + HANG_S
        while not (where.exists() and len(where.read_text().split()) == 2):
            assert browser.poll() is None, "the browser has ended"
            assert time.monotonic() < deadline, "the browser does not start"
            time.sleep(0.05)
        port = where.read_text().split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=HANG_S) as answer:
            (page,) = [t for t in json.load(answer) if t["type"] == "page"]
        with connect(page["webSocketDebuggerUrl"], max_size=None) as socket:
            tab = Tab(socket)
            width, height = size
            tab.call(
                "Emulation.setDeviceMetricsOverride",
                width=width,
                height=height,
                deviceScaleFactor=1,
                mobile=False,
            )
            tab.call("Page.navigate", url=url)
            yield tab
    finally:
        browser.terminate()
        try:
            browser.wait(10)
        except subprocess.TimeoutExpired:
            browser.kill()
            browser.wait()
