"""What a training run writes down."""

import json

import pytest

from multismolvla.training.policy import progress
from multismolvla.training.policy.progress import METRICS_FILE, Progress


class Writer:
    def __init__(self, folder):
        self.folder, self.scalars = folder, []

    def add_scalar(self, *scalar):
        self.scalars.append(scalar)

    def flush(self):
        pass


@pytest.mark.parametrize("writer", [Writer, None], ids=["with TensorBoard", "without"])
def test_scalars_go_to_the_lines_and_to_tensorboard_where_there_is_one(
    tmp_path, monkeypatch, writer
):
    monkeypatch.setattr(progress, "SummaryWriter", writer)
    run = Progress(tmp_path, speaks=True)
    run.begin("policy", 0, 5)
    run.step()
    run.report("policy", 1, {"flow": 0.25}, samples=48, waited_s=0.0)
    run.end()
    (line,) = map(json.loads, (tmp_path / METRICS_FILE).read_text().splitlines())
    assert (line["phase"], line["step"], line["flow"]) == ("policy", 1, 0.25)
    if writer:
        assert ("policy/flow", 0.25, 1) in run._events.scalars
