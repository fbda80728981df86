"""The event camera of docs/modalities.md, installed as the page says."""

import importlib
import re
import sys
from pathlib import Path

import pytest
import yaml

from multismolvla.modalities import registry
from multismolvla.sim.sensors import SENSORS

PAGE = (Path(__file__).parents[1] / "docs" / "modalities.md").read_text()


def block(language: str) -> str:
    """The first code block of a language."""
    return re.search(rf"```{language}\n(.*?)```", PAGE, re.S).group(1)


@pytest.fixture
def events(tmp_path, monkeypatch):
    """The example's modality; its stream table is `tmp_path / "streams.yaml"`."""
    site = tmp_path / "site"
    info = site / "event_camera-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "event_camera.py").write_text(block("python"))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: event_camera\nVersion: 1.0\n")
    group, entry = block("toml").split("\n")[:2]
    name = re.fullmatch(r'\[project\.entry-points\."(.+)"\]', group).group(1)
    (info / "entry_points.txt").write_text(f"[{name}]\n{entry.replace(chr(34), '')}\n")
    (tmp_path / "streams.yaml").write_text(block("yaml"))
    assert yaml.safe_load(block("yaml"))["streams"]

    known = dict(registry._KNOWN)
    monkeypatch.syspath_prepend(str(site))
    importlib.invalidate_caches()
    registry._load_installed.cache_clear()
    yield registry.find_modality("events")
    registry._KNOWN.clear()
    registry._KNOWN.update(known)
    SENSORS.pop("events", None)
    sys.modules.pop("event_camera", None)
    registry._load_installed.cache_clear()
