"""Which web pages may talk to ours.

A browser lets every page that it shows open a connection to this machine's own ports, so that
listening on loopback alone does not keep a stranger's page from moving the arm.
"""

from __future__ import annotations

from urllib.parse import urlsplit

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def is_own(origin: str | None, asked_for: str | None, loopback: bool) -> bool:
    """Whether a connection comes from our own page, or from no page at all.

    Args:
        origin, asked_for: the headers Origin and Host of its request.
        loopback: whether the server listens on loopback only. It must then also be asked for by
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
