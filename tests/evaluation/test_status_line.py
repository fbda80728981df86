"""The demo's status line says what matters, and on a pipe only when it changes."""

import io

from rich.console import Console

from multismolvla.nodes.status_line import RED, YELLOW, StatusLine, streams_text
from multismolvla.pictures.episode_log import EpisodeLog, Sample

MASK = {"rgb": True, "depth": True, "segmentation": True}
CLEAR = dict.fromkeys(MASK, "")


def styles(text) -> dict[str, str]:
    return {text.plain[span.start : span.end]: str(span.style) for span in text.spans}


def sample(time_s=0.0, mode="running", overload="", shed=(), **masked: str) -> Sample:
    mask = {name: name not in masked for name in MASK}
    return Sample(
        time_s, None, None, mask, CLEAR | masked, 5, mode, 50.0, 20.0, overload=overload, shed=shed
    )


def test_cut_and_lost_are_red_and_late_is_yellow():
    reasons = {"rgb": "stale", "depth": "stale", "segmentation": "late_here"}
    text = streams_text(dict.fromkeys(MASK, False), reasons, cut=("rgb",))
    assert text.plain.startswith("0/3 streams")
    assert styles(text) == {
        ", rgb cut": RED,
        ", depth masked (lost there)": RED,
        ", segmentation late here": YELLOW,
    }


def printed(*samples, fault=None, terminal=False) -> str:
    out = io.StringIO()
    episode = EpisodeLog("t", "put it there", 7, 0.0, fault=fault)
    with StatusLine(5, Console(file=out, force_terminal=terminal, width=200)) as line:
        line.begin(2)
        for one in samples:
            line.sample(episode, one)
    return out.getvalue()


def test_on_a_pipe_a_line_is_a_change_and_how_late_exactly_is_none():
    late = "overloaded: policy_node runs {} ms late"
    text = printed(
        sample(0.0),
        sample(0.1),
        sample(0.2, overload=late.format(180)),
        sample(0.3, overload=late.format(190)),
        sample(0.4, overload=late.format(190), shed=("segmentation rate",)),
        sample(0.5, segmentation="image late"),
        sample(0.6),
    )
    lines = text.splitlines()
    assert lines == [
        "[2/5] running | 3/3 streams | put it there",
        "[2/5] running | 3/3 streams | overloaded: policy_node runs 180 ms late | put it there",
        "[2/5] running | 3/3 streams | overloaded: policy_node runs 190 ms late "
        "(reduced: segmentation rate) | put it there",
        "[2/5] running | 2/3 streams, segmentation late here | put it there",
        "[2/5] running | 3/3 streams | put it there",
    ]


def test_a_terminal_shows_rate_queue_and_success_too():
    text = printed(sample(1.5, rgb="stale"), fault=(1.0, ("rgb",)), terminal=True)
    for shown in ("1.5 s", "rgb cut", "0/1 ok", "queue  5", "50 Hz, 20 ms"):
        assert shown in text
