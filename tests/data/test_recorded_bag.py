"""Bags that were finished, and recordings that were cut off at any byte."""

from itertools import pairwise

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.interfaces import Qos, QosDurability
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.rosbag2.metadata import parse_qos

from multismolvla.cli import main
from multismolvla.data import bag_messages as messages
from multismolvla.data.bag import find_episodes
from multismolvla.data.recorded_bag import BagError, open_bag

LATCHED = """
- history: 1
  depth: 1
  reliability: 1
  durability: 1
  deadline: {sec: 0, nsec: 0}
  lifespan: {sec: 0, nsec: 0}
  liveliness: 1
  liveliness_lease_duration: {sec: 0, nsec: 0}
  avoid_ros_namespace_conventions: false
"""


def latched() -> list[Qos]:
    return parse_qos(LATCHED)


def write(folder, count=40, every=10):
    """Texts 10 ms apart, alternately on /a and /b, in chunks of `every`."""
    with Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        channels = [
            writer.add_connection(
                topic,
                messages.STRING,
                typestore=messages.typestore(),
                offered_qos_profiles=latched(),
            )
            for topic in ("/a", "/b")
        ]
        for number in range(count):
            writer.write(channels[number % 2], 10**18 + number * 10**7, messages.text(str(number)))
            if number % every == every - 1:
                writer.storage.close_chunk()
    return folder


def texts(bag, *topics):
    store = messages.typestore()
    return [
        int(store.deserialize_cdr(data, messages.STRING).data)
        for _, _, data in bag.messages(topics or bag.topics)
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write(tmp_path_factory.mktemp("bags") / "whole")


def test_a_finished_bag_is_read_as_a_folder_and_as_a_file(whole):
    for path in (whole, whole / "whole.mcap"):
        bag = open_bag(path)
        assert bag.damage == "" and set(bag.topics) == {"/a", "/b"}
        assert texts(bag) == list(range(40))
        assert texts(bag, "/b") == list(range(1, 40, 2))
        assert texts(bag, "/nothing") == []


@settings(max_examples=60, deadline=None)
@given(share=st.floats(0.0, 1.0))
def test_a_recording_cut_off_anywhere_keeps_its_whole_chunks(whole, tmp_path_factory, share):
    data = (whole / "whole.mcap").read_bytes()
    folder = tmp_path_factory.mktemp("cut") / "bag"
    folder.mkdir()
    (folder / "bag_0.mcap").write_bytes(data[: round(share * (len(data) - 1))])
    try:
        bag = open_bag(folder)
    except BagError as error:
        assert share < 0.5 and "before it had a message" in str(error)
        return
    found = texts(bag)
    assert found == list(range(len(found))) and len(found) % 10 == 0
    assert "cut off" in bag.damage


def test_nothing_that_was_flushed_is_lost(whole, tmp_path):
    data = (whole / "whole.mcap").read_bytes()
    sizes = []
    for length in range(0, len(data), 97):
        (tmp_path / "bag.mcap").write_bytes(data[:length])
        try:
            sizes.append(len(texts(open_bag(tmp_path))))
        except BagError:
            sizes.append(0)
    assert all(before <= after for before, after in pairwise(sizes))
    assert set(sizes) == {0, 10, 20, 30, 40}


def test_recover_makes_a_bag_that_every_tool_reads(whole, tmp_path, capsys):
    folder = tmp_path / "bag"
    folder.mkdir()
    data = (whole / "whole.mcap").read_bytes()
    (folder / "bag_0.mcap").write_bytes(data[: len(data) // 2])
    kept = texts(open_bag(folder))
    assert main(["bag", "recover", str(folder)]) == 0
    assert f"{len(kept)} messages on 2 topics" in capsys.readouterr().out
    with Reader(tmp_path / "bag_recovered") as reader:
        assert reader.message_count == len(kept) > 0
        (qos,) = reader.connections[0].ext.offered_qos_profiles
        assert qos.durability == QosDurability.TRANSIENT_LOCAL
    assert open_bag(tmp_path / "bag_recovered").damage == ""
    # A second time it would overwrite what was saved.
    assert main(["bag", "recover", str(folder)]) == 1
    assert "exists already" in capsys.readouterr().err


def packed(whole, folder, share=1.0):
    """A folder with nothing but `bag_0.mcap.zstd`."""
    folder.mkdir()
    data = (whole / "whole.mcap").read_bytes()
    packed = zstandard.ZstdCompressor().compress(data[: int(share * len(data))])
    (folder / "bag_0.mcap.zstd").write_bytes(packed)
    return folder


def test_a_bag_of_files_that_were_compressed_is_read_without_its_metadata(whole, tmp_path):
    folder = packed(whole, tmp_path / "bag")
    assert find_episodes(tmp_path) == [folder]
    for path in (folder, folder / "bag_0.mcap.zstd"):
        bag = open_bag(path)
        assert bag.damage == "" and texts(bag) == list(range(40))


def test_a_compressed_file_that_was_cut_off_keeps_its_whole_chunks(whole, tmp_path):
    half = open_bag(packed(whole, tmp_path / "half", 0.5))
    assert texts(half) == list(range(len(texts(half)))) and "cut off" in half.damage
    folder = packed(whole, tmp_path / "torn")
    file = folder / "bag_0.mcap.zstd"
    file.write_bytes(file.read_bytes()[:-100])
    try:
        assert "cut off" in open_bag(folder).damage
    except BagError as error:
        assert "before it had a message" in str(error)


def test_a_file_that_is_there_both_ways_is_read_once(whole, tmp_path):
    folder = packed(whole, tmp_path / "bag")
    (folder / "bag_0.mcap").write_bytes((whole / "whole.mcap").read_bytes())
    assert texts(open_bag(folder)) == list(range(40))


def test_the_files_of_a_finished_bag_may_be_compressed(whole, tmp_path):
    """As `ros2 bag record --compression-mode file --compression-format zstd` leaves it."""
    folder = packed(whole, tmp_path / "bag")
    told = (whole / "metadata.yaml").read_text().replace("whole.mcap", "bag_0.mcap.zstd")
    told = told.replace("compression_format: ''", "compression_format: 'zstd'")
    told = told.replace("compression_mode: ''", "compression_mode: 'FILE'")
    (folder / "metadata.yaml").write_text(told)
    bag = open_bag(folder)
    assert bag.damage == "" and texts(bag) == list(range(40))


def test_what_has_to_be_made_readable_first_says_how(tmp_path):
    for name, said in (
        ("bag_0.db3.zstd", "decompress it first: unzstd bag_0.db3.zstd"),
        ("bag_0.db3", "has no metadata.yaml; ros2 bag reindex -s sqlite3"),
    ):
        folder = tmp_path / name.replace(".", "_")
        folder.mkdir()
        (folder / name).write_bytes(b"x")
        with pytest.raises(BagError, match=said) as caught:
            open_bag(folder)
        assert "\n" not in str(caught.value)
    with pytest.raises(BagError, match="decompress it first"):
        open_bag(tmp_path / "bag_0_db3_zstd" / "bag_0.db3.zstd")


def test_what_is_no_bag_is_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.mcap").write_bytes(b"no mcap at all")
    (tmp_path / "file.txt").write_text("not a bag")
    for name, complaint in (
        ("nowhere", "no such bag"),
        ("empty", "no metadata.yaml and no .mcap"),
        ("file.mcap", "before it had a message"),
        ("file.txt", "cannot read it"),
    ):
        with pytest.raises(BagError, match=complaint) as caught:
            open_bag(tmp_path / name)
        assert str(caught.value).count("\n") == 0
