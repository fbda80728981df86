"""viser's server for a robot: on the given address, and open to its own page only."""

from __future__ import annotations

import contextlib
import io
import ipaddress
import socket
import sys
from typing import Any
from urllib.parse import urlsplit

# Which web pages may talk to ours.
#
# A browser lets every page that it shows open a connection to this machine's own ports, so that
# listening on loopback alone does not keep a stranger's page from moving the arm.

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def is_own(origin: str | None, asked_for: str | None, loopback: bool) -> bool:
    """Whether a connection comes from our own page, or from no page at all.

    Args:
        origin, asked_for: the headers Origin and Host of its request.
        loopback: whether the server listens on loopback only. It must then also be requested by
            such a name: a stranger's name may lead to this machine.
    """
    if loopback and _host(asked_for) not in LOOPBACK:
        return False
    return origin is None or urlsplit(origin).netloc == asked_for


def _host(asked_for: str | None) -> str | None:
    try:
        return urlsplit(f"//{asked_for}").hostname
    except ValueError:
        return None


# As in requirements/web.txt, which says why without dependencies; an installed package has no such
# file.
INSTALL = "-m pip install --no-deps viser==1.1.1 msgspec==0.22.0 websockets==16.1.1"
# RFC 6455: a policy violation.
POLICY_VIOLATION = 1008


class PageError(ValueError):
    """The page cannot be served; one line with reason and remedy."""


def import_viser() -> Any:
    """Return the module viser.

    Raises:
        PageError: it, or what it needs, is not installed.
    """
    try:
        import viser
    except ImportError as error:
        raise PageError(
            f"the page in the browser needs viser ({error}): {sys.executable} {INSTALL}"
        ) from None
    return viser


def start_server(host: str, port: int, label: str) -> Any:
    """Return a running `viser.ViserServer` on exactly this address; port 0 takes any free one.

    Raises:
        PageError: viser is not installed, or the address cannot be had.
    """
    viser = import_viser()
    # viser tries the next port by itself, endlessly if the host is wrong.
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.create_server((host, port), family=family):
            pass
    except (OSError, OverflowError) as error:
        raise PageError(f"the page cannot be served on {host}:{port}: {error}") from None

    class Server(viser.ViserServer):
        def request_share_url(self, verbose: bool = True) -> None:
            """A page that moves an arm is never shared on the Internet."""

    with contextlib.redirect_stdout(io.StringIO()):  # A banner; the node says where the page is.
        server = Server(host=host, port=port, label=label, verbose=False)
    _refuse_strangers(server, is_loopback(host))
    return server


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _refuse_strangers(server: Any, loopback: bool) -> None:
    """Close connections from other pages before they are heard.

    The headers are not in viser's public interface; a test holds the pinned version to this.
    """
    sockets = server._websock_server

    async def check(connection: Any) -> None:
        connected = sockets._live_connections[connection.client_id]
        headers = connected.request.headers
        if not is_own(headers.get("Origin"), headers.get("Host"), loopback):
            await connected.close(POLICY_VIOLATION, "this page talks to its own origin only")

    sockets.on_client_connect(check)
