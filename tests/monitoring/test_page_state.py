"""What the page shows is what was said: nothing masked looks usable, no text becomes markup."""

import re
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from multismolvla.monitoring.health_panel import Light, Line, StreamState
from multismolvla.monitoring.page_html import note_html, plot_html, timeline_html, verdict_html
from multismolvla.monitoring.page_state import SPAN_S, PageState, StreamView

OK = StreamState("OK", (), 15.0)
NAMES = ("rgb", "depth", "wrist/rgb")


def page_state(**changes: StreamState) -> PageState:
    state = PageState(NAMES)
    state.on_streams(0.0, dict.fromkeys(NAMES, OK) | changes)
    return state


@given(
    health=st.sampled_from(["OK", "DEGRADED", "LOST", "whatever"]),
    said=st.sampled_from(["0", "1", "", None]),
    silent_s=st.sampled_from([0.0, 0.5, 5.0]),
)
def test_a_stream_is_masked_if_it_is_lost_or_if_the_policy_says_so(health, said, silent_s):
    state = page_state(rgb=StreamState(health, ("stale",), 0.0))
    values = {} if said is None else {"mask.rgb": said}
    state.on_policy(0.0, values)
    view = state.streams(silent_s)["rgb"]
    policy_masks = said == "0" and silent_s < 1.0
    assert view.masked == (policy_masks or health not in ("OK", "DEGRADED"))
    assert (view.state == "usable") == (health == "OK" and not policy_masks)
    assert (
        view.line.light
        is {
            "usable": Light.GOOD,
            "degraded": Light.WARNING,
            "masked": Light.BAD,
        }[view.state]
    )
    assert not state.streams(silent_s)["depth"].masked


def test_nothing_is_usable_before_anything_was_said():
    state = PageState(NAMES)
    assert all(view.masked for view in state.streams(0.0).values())
    assert state.verdict(0.0).light is Light.BAD


def test_the_reason_of_a_mask_is_the_policys():
    state = page_state()
    state.on_policy(0.0, {"mask.rgb": "0", "mask_reason.rgb": "no image within 0.02 s"})
    assert state.streams(0.0)["rgb"].line.text == "MASKED: no image within 0.02 s"


def test_the_timeline_has_what_the_policy_masked():
    state = page_state()
    state.on_policy(1.0, {"mask.rgb": "0"})
    state.on_streams(1.0, dict.fromkeys(NAMES, OK))
    state.on_policy(2.0, {"mask.rgb": "1"})
    state.on_streams(2.0, dict.fromkeys(NAMES, OK))
    told = [(span.state, span.start_s, span.end_s) for span in state.timeline(3.0)["rgb"]]
    assert told == [("usable", 3.0, 2.0), ("masked", 2.0, 1.0), ("usable", 1.0, 0.0)]


def test_a_latency_is_plotted_once_for_each_inference():
    state = page_state()
    for tick, inferences in enumerate("1122233"):
        state.on_policy(tick / 10, {"inferences": inferences, "latency_ms": "30", "queue_s": "0.5"})
    assert len(state.latency_ms.points(1.0)) == 3
    assert len(state.queue_s.points(1.0)) == 7


@given(st.text())
def test_values_that_are_no_numbers_are_not_plotted(text):
    state = page_state()
    state.on_policy(0.0, {"queue_s": text, "latency_ms": "nan", "inferences": "1"})
    for _, value in state.queue_s.points(0.0):
        assert value == float(text)
    assert state.latency_ms.points(0.0) == []


# XML knows no control characters; browsers do not mind them.
texts = st.text(
    st.characters(blacklist_categories=("Cc", "Cs"), blacklist_characters="\ufffe\uffff")
)


@given(texts)
def test_what_a_message_says_stays_text(text):
    views = {text: StreamView(text, "masked", text, 0.0)}
    for html in (
        verdict_html(Line("", text, Light.BAD)),
        note_html("answer", text, Light.BAD),
        timeline_html(views, {}),
        plot_html("plot", text, text, [(1.0, 2.0)]),
    ):
        root = ElementTree.fromstring(html.replace("&nbsp;", " "))
        assert {element.tag for element in root.iter()} <= {
            *("div", "svg", "g", "text", "rect", "line", "polyline")
        }


def test_a_masked_stream_differs_from_a_usable_one_by_more_than_colour():
    state = page_state()
    state.on_streams(30.0, dict.fromkeys(NAMES, OK) | {"rgb": StreamState("LOST", ("stale",), 0)})
    html = timeline_html(state.streams(60.0), state.timeline(60.0))
    rows = dict(re.findall(r'data-stream="([^"]+)" data-state="(\w+)"', html))
    assert rows == {"rgb": "masked", "depth": "usable", "wrist/rgb": "usable"}
    assert "MASKED: stale" in html
    usable, masked = (float(h) for h in re.findall(r'<rect [^>]*height="([\d.]+)"', html)[:2])
    assert masked < 0.5 * usable


@given(st.lists(st.tuples(st.floats(0, SPAN_S), st.floats(-1e9, 1e9)), max_size=20), st.booleans())
def test_every_value_is_drawn_inside_of_the_plot(points, dots):
    root = ElementTree.fromstring(plot_html("queue", "Queue", "s", points, dots))
    _, _, width, height = map(float, next(root.iter("svg")).get("viewBox").split())
    if dots:
        drawn = [(float(c.get("cx")), float(c.get("cy"))) for c in root.iter("circle")]
    else:
        way = next(root.iter("polyline")).get("points").split()
        drawn = [tuple(map(float, point.split(","))) for point in way]
    assert len(drawn) == len(points)
    assert all(0 <= x <= width and 0 <= y <= height for x, y in drawn)
