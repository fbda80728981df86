"""Settings: the shipped files, those of somebody else, and what is wrong in them."""

from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from multismolvla.modalities.registry import modalities
from multismolvla.modalities.rgb import RGB
from multismolvla.setting import settings_of
from multismolvla.stack.command_options import stream_table_file
from multismolvla.stack.settings import (
    DriverSettings,
    LabellerSettings,
    PolicySettings,
    load_settings,
    or_shipped,
    shipped_config,
)


def write(folder, name, **values):
    (folder / name).write_text(yaml.safe_dump({"/**": {"ros__parameters": values}}))
    return folder


def test_the_shipped_files_hold_the_defaults():
    settings = load_settings()
    assert settings.folder == shipped_config()
    assert settings.thresholds == {m.name: m.health for m in modalities()}
    assert settings.counts == {m.name: m.counts for m in modalities()}
    assert settings.labeller == LabellerSettings()
    assert settings.policy == PolicySettings()
    assert settings.driver == DriverSettings()


def test_the_working_directory_is_no_configuration(tmp_path, monkeypatch):
    (tmp_path / "config").mkdir()
    write(tmp_path / "config", "policy_node.yaml", merge="latest_only")
    monkeypatch.chdir(tmp_path)
    assert load_settings().policy.merge == "crossfade"


def test_a_folder_of_ones_own_changes_what_it_has(tmp_path):
    write(tmp_path, "policy_node.yaml", queue_threshold="auto", slop_s=0.05)
    write(tmp_path, "depth_node.yaml", raw_unit_m=0.0001, gap_share=0.5)
    write(tmp_path, "segmentation_node.yaml", max_wait_s=0.01, stale_periods=3.0)
    settings = load_settings(tmp_path)
    assert settings.policy.queue_threshold is None and settings.policy.slop_s == 0.05
    assert settings.counts["depth"].scale == 0.0001 and settings.counts["thermal"].scale == 0.01
    assert settings.thresholds["depth"].gap_share == 0.5
    assert settings.thresholds["rgb"] == RGB.health
    assert settings.labeller.max_wait_s == 0.01
    assert settings.thresholds["segmentation"].stale_periods == 3.0
    assert settings.driver == DriverSettings()
    assert settings.file("policy_node.yaml") == tmp_path / "policy_node.yaml"
    assert settings.file("streams.yaml") == shipped_config() / "streams.yaml"


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("policy_node.yaml", {"slob_s": 0.03}, "unknown key 'slob_s'; expected 'slop_s' in s"),
        ("policy_node.yaml", {"slop_ms": 30}, "unknown key 'slop_ms'; expected 'slop_s' in s"),
        ("policy_node.yaml", {"whatever": 1}, "unknown key 'whatever'; expected one of policy, "),
        ("policy_node.yaml", {"slop_s": 2.0}, "slop_s is 2.0; expected a number with a point in"),
        ("policy_node.yaml", {"slop_s": float("nan")}, "slop_s is nan; expected a number with"),
        ("policy_node.yaml", {"slop_s": 1}, "slop_s is 1; expected a number with a point in"),
        ("policy_node.yaml", {"realtime": 1}, "realtime is 1; expected true or false"),
        ("policy_node.yaml", {"merge": "sum"}, "merge is 'sum'; expected one of "),
        ("policy_node.yaml", {"queue_threshold": 7}, "queue_threshold is 7; expected 'auto' or"),
        ("policy_node.yaml", {"policy_chunking": "rtc"}, "chunk_entry is 'nearest'; expected"),
        # A colour camera's counts have no unit, and its range is not judged.
        ("rgb_node.yaml", {"raw_unit_m": 0.001}, "unknown key 'raw_unit_m'"),
        ("rgb_node.yaml", {"minimum": 1.0}, "unknown key 'minimum'"),
        ("depth_node.yaml", {"scale": 0.01}, "unknown key 'scale'"),
        (
            "so101_driver.yaml",
            {"rate_hz": 5.0},
            "rate_hz is 5.0; expected a number with a point in [10.0, 200.0] Hz",
        ),
    ],
)
def test_a_wrong_value_is_one_line_with_file_key_and_what_was_expected(
    tmp_path, name, values, expected
):
    with pytest.raises(ValueError) as caught:
        load_settings(write(tmp_path, name, **values))
    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert expected in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["[1, 2]", "slop_s: 0.03", "/policy_node: {}", "a: [", ""])
def test_a_file_of_another_form_is_refused(tmp_path, content):
    (tmp_path / "policy_node.yaml").write_text(content)
    with pytest.raises(ValueError, match=r"^/.*policy_node.yaml: [^\n]*$"):
        load_settings(tmp_path)


def test_a_folder_without_configuration_is_refused(tmp_path):
    with pytest.raises(ValueError, match="nowhere: no configuration; expected a folder with rgb"):
        load_settings(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "defaults",
    [
        *(LabellerSettings(), PolicySettings(), DriverSettings()),
        *(part for modality in modalities() for part in (modality.health, modality.counts)),
    ],
)
def test_every_setting_is_described_and_its_default_is_allowed(defaults):
    settings = list(settings_of(defaults))
    assert {item.field for item in settings} <= {item.name for item in fields(defaults)}
    for item in settings:
        assert item.description.endswith(".") and item.check(item.default) == item.default
        if isinstance(item.default, int | float) and not isinstance(item.default, bool):
            assert item.parse or item.minimum < item.maximum


def test_the_installed_stream_table_is_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert stream_table_file(None).is_file()
    assert stream_table_file(Path("mine.yaml")) == Path("mine.yaml")


@pytest.mark.parametrize("name", ["config/faults/rgb_loss.yaml", "./config/libero", "config"])
def test_what_is_shipped_is_found_from_every_working_directory(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert or_shipped(name) == shipped_config() / Path(name).relative_to("config")
    assert load_settings("config/libero") == load_settings(shipped_config() / "libero")


def test_a_path_that_is_there_or_is_not_shipped_stays_as_it_was_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config" / "faults").mkdir(parents=True)
    own = tmp_path / "config" / "faults" / "rgb_loss.yaml"
    own.write_text("")
    for name in ("config/faults/rgb_loss.yaml", "faults/rgb_loss.yaml", "config/none.yaml", own):
        assert or_shipped(name) == Path(name)
