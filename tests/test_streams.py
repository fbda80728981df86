from pathlib import Path

import pytest
import yaml

from multismolvla.modalities.registry import kinds
from multismolvla.streams import StreamTableError, load_stream_table

CONFIG = Path(__file__).parents[1] / "config" / "streams.yaml"
ENTRY = {
    "name": "rgb",
    "kind": "rgb",
    "height": 96,
    "width": 128,
    "rate_hz": 15,
    "frame_id": "top_camera_optical_frame",
}


def table_of(tmp_path, *entries):
    path = tmp_path / "streams.yaml"
    path.write_text(yaml.safe_dump({"streams": list(entries)}))
    return load_stream_table(path)


def test_the_shipped_table_has_every_kind_in_both_views():
    table = load_stream_table(CONFIG)
    assert {stream.view for stream in table} == {"", "wrist"}
    for view in ("", "wrist"):
        assert tuple(s.kind for s in table if s.view == view) == kinds()
    assert all(stream.frame_id.endswith("_optical_frame") for stream in table)


def test_order_is_kept_and_names_are_found(tmp_path):
    wrist = {**ENTRY, "name": "wrist/rgb"}
    table = table_of(tmp_path, wrist, ENTRY)
    assert table.names == ("wrist/rgb", "rgb")
    assert table["wrist/rgb"].view == "wrist"
    with pytest.raises(StreamTableError, match="unknown stream 'sonar'; the table has wrist/rgb"):
        table["sonar"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hieght": 96}, r"unknown key 'streams\[0\].hieght'"),
        ({"height": None}, "height is None; expected a whole number"),
        ({"rate_hz": float("nan")}, "rate_hz is nan; expected a positive number"),
        ({"rate_hz": float("inf")}, "rate_hz is inf; expected a positive number"),
        ({"height": 0}, "height is 0; expected a positive number"),
        ({"rate_hz": True}, "rate_hz is True"),
        ({"kind": "sonar"}, "kind is 'sonar'; expected rgb, depth"),
        ({"name": "front"}, "expected 'rgb' or '<view>/rgb'"),
        ({"name": "frontrgb"}, "expected 'rgb' or '<view>/rgb'"),
        ({"name": "/rgb"}, "expected 'rgb' or '<view>/rgb'"),
        ({"derived_from": ["rgb"]}, "derived_from names the stream itself"),
        ({"derived_from": ["depth"]}, "derived_from names 'depth', not in the table"),
    ],
)
def test_a_wrong_entry_is_one_clear_line(tmp_path, change, message):
    with pytest.raises(StreamTableError, match=message) as error:
        table_of(tmp_path, {**ENTRY, **change})
    assert str(tmp_path / "streams.yaml") in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_key_twice_the_same_and_no_streams(tmp_path):
    without = {key: value for key, value in ENTRY.items() if key != "frame_id"}
    with pytest.raises(StreamTableError, match=r"missing key 'streams\[0\].frame_id'"):
        table_of(tmp_path, without)
    with pytest.raises(StreamTableError, match="'rgb' is declared twice"):
        table_of(tmp_path, ENTRY, ENTRY)
    with pytest.raises(StreamTableError, match="at least one stream"):
        table_of(tmp_path)


def test_unreadable_files(tmp_path):
    with pytest.raises(StreamTableError, match="cannot read the stream table"):
        load_stream_table(tmp_path / "none.yaml")
    (tmp_path / "broken.yaml").write_text("streams: [")
    with pytest.raises(StreamTableError, match="not valid YAML"):
        load_stream_table(tmp_path / "broken.yaml")


@pytest.mark.parametrize("key", ["\n", "a\nb", "a\r"])
def test_a_key_with_a_line_break_is_refused_in_one_line(tmp_path, key):
    with pytest.raises(StreamTableError, match="unknown key") as caught:
        table_of(tmp_path, {**ENTRY, key: 1})
    assert not {"\n", "\r"} & set(str(caught.value))
