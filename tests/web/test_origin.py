"""Which web pages may drive the arm: our own, and none that only looks like it."""

from hypothesis import given
from hypothesis import strategies as st

from multismolvla.web.server import is_own


def test_our_own_page_is_heard_by_whichever_name_it_was_opened():
    for host in ("localhost:8080", "127.0.0.1:8080", "[::1]:8080"):
        assert is_own(f"http://{host}", host, loopback=True)
    assert is_own("http://robot.local:8080", "robot.local:8080", loopback=False)
    assert is_own("https://robot.local", "robot.local", loopback=False)


def test_a_program_that_is_no_browser_has_no_origin():
    assert is_own(None, "localhost:8080", loopback=True)


def test_a_strangers_page_is_refused():
    assert not is_own("http://evil.example", "localhost:8080", loopback=True)
    assert not is_own("http://localhost:3000", "localhost:8080", loopback=True)
    assert not is_own("null", "localhost:8080", loopback=True)
    assert not is_own("http://evil.example", "robot.local:8080", loopback=False)


def test_a_strangers_name_for_this_machine_is_refused():
    assert not is_own("http://evil.example:8080", "evil.example:8080", loopback=True)
    assert not is_own(None, None, loopback=True)


@given(st.text(), st.text())
def test_no_header_is_an_exception(origin, host):
    if is_own(origin, host, loopback=True):
        assert origin.partition("//")[2].startswith(host)
