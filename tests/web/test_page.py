"""The page without a browser: where it is served, to whom, and what its buttons say."""

import gzip
import socket
import sys
import threading
import urllib.request
from pathlib import Path

import pytest
from patience import HANG_S

from multismolvla.monitoring.health_panel import Light
from multismolvla.monitoring.urdf import load_urdf
from multismolvla.web.page import Actions, Breakable, Page
from multismolvla.web.server import INSTALL, PageError, start_server

ROOT = Path(__file__).parents[2]
ROBOT = load_urdf(ROOT / "urdf" / "so101.urdf")


@pytest.fixture
def page():
    pytest.importorskip("viser")
    calls = []
    names = ("set_task", "stop", "resume", "kill", "mend", "mend_all")
    actions = Actions(*(lambda *values, name=name: calls.append((name, *values)) for name in names))
    page = Page(
        "127.0.0.1",
        0,
        title="test",
        robot=ROBOT,
        views=("top", "wrist"),
        streams=("rgb", "wrist/rgb"),
        faults=("drop", "black"),
        actions=actions,
    )
    page.calls = calls
    yield page
    page.close()


def test_it_is_served_as_one_file_that_fetches_nothing_from_elsewhere(page):
    with urllib.request.urlopen(page.url) as answer:
        data = answer.read()
        if answer.headers["Content-Encoding"] == "gzip":
            data = gzip.decompress(data)
    html = data.decode()
    assert "<title>" in html
    assert 'src="http' not in html and 'href="http' not in html
    assert not page.watched


def connection(page, **headers):
    from viser import __version__
    from websockets.sync.client import connect

    return connect(
        page.url.replace("http", "ws"),
        subprotocols=[f"viser-v{__version__}"],
        additional_headers=headers,
        open_timeout=HANG_S,
        max_size=None,
    )


def test_its_own_page_is_served_and_a_strangers_is_not(page):
    from websockets.exceptions import ConnectionClosed

    with connection(page, Origin=page.url) as own:
        assert own.recv(timeout=HANG_S)
    with connection(page, Origin="http://evil.example") as other:
        with pytest.raises(ConnectionClosed) as closed:
            other.recv(timeout=HANG_S)
        assert closed.value.rcvd.code == 1008
    with connection(page, Host="evil.example:80") as other, pytest.raises(ConnectionClosed):
        other.recv(timeout=HANG_S)


def test_what_a_stranger_sends_before_it_is_refused_is_not_heard(page):
    import msgspec
    from viser import __version__
    from websockets.client import ClientProtocol
    from websockets.frames import Close, Frame, Opcode
    from websockets.uri import parse_uri

    heard = threading.Event()

    async def hear(client, message) -> None:
        heard.set()

    page._server._websock_server._handle_incoming_message = hear
    message = msgspec.msgpack.encode({"type": "ShareUrlDisconnect"})

    def send_all_at_once(origin: str, refused: bool) -> None:
        """Connect and send in one go, before the server can have an opinion."""
        protocol = ClientProtocol(
            parse_uri(page.url.replace("http", "ws")),
            origin=origin,
            subprotocols=[f"viser-v{__version__}"],
        )
        protocol.send_request(protocol.connect())
        frames = [Frame(Opcode.BINARY, message)] * 5
        if refused:  # The answer to being closed, or the server would wait for it.
            frames.append(Frame(Opcode.CLOSE, Close(1008, "").serialize()))
        data = [*protocol.data_to_send(), *(frame.serialize(mask=True) for frame in frames)]
        host, port = page.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=HANG_S) as connected:
            connected.sendall(b"".join(data))
            while refused and connected.recv(65536):
                pass
            if not refused:
                heard.wait(HANG_S)

    send_all_at_once("http://evil.example", refused=True)
    assert not heard.is_set()
    send_all_at_once(page.url, refused=False)
    assert heard.is_set()


def test_it_is_never_put_on_the_internet(page):
    assert page._server.request_share_url() is None
    assert page._server._share_tunnel is None


def test_a_kill_button_says_what_it_does_and_does_it(page):
    page.show_injector({}, "no injector", Light.WARNING)
    button = page._buttons["rgb"]
    assert button.disabled and button.label == "Kill rgb" and page._fault.disabled
    assert "no injector" in page._injector.content

    sound = {name: Breakable(None, True) for name in ("rgb", "wrist/rgb")}
    page.show_injector(sound, "", Light.GOOD)
    assert not button.disabled
    page._press("rgb")
    assert page.calls == [("kill", "rgb", "drop", 3)]

    page.show_injector(sound | {"rgb": Breakable("black", True)}, "", Light.GOOD)
    assert button.label == "Mend rgb (black)"
    assert page._buttons["wrist/rgb"].label == "Kill wrist/rgb"
    page._press("rgb")
    assert page.calls[-1] == ("mend", "rgb")


def test_what_nobody_listens_to_cannot_be_killed_but_mended(page):
    for fault, disabled in ((None, True), ("drop", False)):
        page.show_injector({"rgb": Breakable(fault, False)}, "", Light.GOOD)
        assert page._buttons["rgb"].disabled == disabled


def test_a_port_that_is_taken_and_a_wrong_host_are_one_line():
    pytest.importorskip("viser")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PageError, match=rf"served on 127\.0\.0\.1:{port}: .*in use"):
            start_server("127.0.0.1", port, "")
    with pytest.raises(PageError, match=r"cannot be served on 192\.0\.2\.1"):
        start_server("192.0.2.1", 0, "")


def test_without_viser_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "viser", None)
    with pytest.raises(PageError) as error:
        start_server("127.0.0.1", 0, "")
    said = str(error.value)
    assert "needs viser" in said and "\n" not in said
    lines = (ROOT / "requirements" / "web.txt").read_text().splitlines()
    for pinned in (line for line in lines if line and line[0] != "#"):
        assert pinned in INSTALL and pinned in said
