"""Checkpoints: what is saved acts the same when loaded, and all else is one clear line."""

import dataclasses
import http.server
import json
import os
import socket
import threading
import time

import huggingface_hub.constants
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from multismolvla.embodiment.so101 import KINEMATICS, SO101
from multismolvla.policy import checkpoint, hub
from multismolvla.policy.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from multismolvla.policy.config import PRESETS, SiglipConfig
from multismolvla.policy.model import MultiSmolVLA
from multismolvla.policy.normalization import Normalizer
from multismolvla.policy.tokenizer import SHIPPED_FILE, Tokenizer
from multismolvla.streams import Stream

STREAMS = tuple(
    # A whole rate, as YAML may give it, is 15.0 after loading.
    Stream(name, name.rpartition("/")[2], 32, 32, 15, "camera_optical_frame")
    for name in ("rgb", "depth", "wrist/rgb")
)
TINY = PRESETS["tiny"](STREAMS, SO101)
CONFIG = dataclasses.replace(TINY, text=dataclasses.replace(TINY.text, vocab_size=1024))
SMOLVLA = dataclasses.replace(
    CONFIG,
    encoder="siglip",
    fourm=None,
    siglip=SiglipConfig(32, 2, 2, 64, image_size=32, patch_size=8, shuffle=2),
    streams=STREAMS[::2],
    tokens_per_view=4,
)
TOKENIZER = Tokenizer.load(SHIPPED_FILE, CONFIG.max_language_tokens)
WEIGHTS = "model.safetensors"


def save(folder, config=CONFIG, model=None):
    torch.manual_seed(0)
    model = model or MultiSmolVLA(config, KINEMATICS)
    normalizer = Normalizer(
        config, KINEMATICS, state_mean=torch.arange(6.0), action_std=torch.full((6,), 2.0)
    )
    save_checkpoint(folder, model, config, TOKENIZER, normalizer)
    return model


@pytest.fixture
def folder(tmp_path):
    save(tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def rewrite(path, change):
    """Change tensors and metadata of a safetensors file."""
    tensors = load_file(path)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    change(tensors, metadata)
    save_file(tensors, path, metadata)


def refused(source, said, **options):
    with pytest.raises(CheckpointError, match=said) as refusal:
        load_checkpoint(source, SO101, **options)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("config", [CONFIG, SMOLVLA], ids=["fourm", "siglip"])
def test_what_is_saved_is_loaded(tmp_path, config):
    saved = save(tmp_path, config).state_dict()
    model, loaded, tokenizer, normalizer = load_checkpoint(tmp_path, SO101)
    assert loaded == config
    assert tokenizer.content == TOKENIZER.content
    assert tokenizer.max_tokens == config.max_language_tokens
    assert normalizer.state_mean.tolist() == [0, 1, 2, 3, 4, 5]
    assert normalizer.action_std.tolist() == [2] * 6
    assert model.state_dict().keys() == saved.keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, saved[name]), name
    # Nothing is left without memory, neither what is saved nor what is not.
    assert not any(t.is_meta for t in (*model.parameters(), *model.buffers()))
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_whoever_may_read_the_configuration_may_read_the_weights(folder):
    modes = {file.stat().st_mode for file in folder.iterdir()}
    assert len(modes) == 1


def test_a_second_checkpoint_replaces_the_first_and_leaves_other_files_alone(folder):
    (folder / "notes.txt").write_text("mine")
    model = save(folder)
    with torch.no_grad():
        model.state_proj.bias.fill_(7.0)
    save(folder, model=model)
    assert (load_checkpoint(folder, SO101).model.state_proj.bias == 7.0).all()
    names = {"multismolvla.json", WEIGHTS, "tokenizer.json", "notes.txt"}
    assert {path.name for path in folder.iterdir()} == names


def test_an_interrupted_save_leaves_the_old_checkpoint(folder, monkeypatch):
    before = (folder / WEIGHTS).read_bytes()

    def full(tensors, path, metadata):
        path.write_bytes(b"half of ")
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_file", full)
        with pytest.raises(OSError, match="No space"):
            save(folder)
    assert (folder / WEIGHTS).read_bytes() == before
    assert not list(folder.glob(".saving*"))
    load_checkpoint(folder, SO101)


def test_an_interruption_between_two_files_is_noticed(folder, tmp_path):
    other = dataclasses.replace(CONFIG, denoising_steps=3)
    save(tmp_path / "other", other)
    os.replace(tmp_path / "other" / "multismolvla.json", folder / "multismolvla.json")
    refused(folder, r"saved with another multismolvla\.json")


def test_a_reformatted_configuration_is_still_the_same(folder):
    path = folder / "multismolvla.json"
    path.write_text(json.dumps(json.loads(path.read_text()), sort_keys=True))
    load_checkpoint(folder, SO101)


def test_a_changed_tokenizer_is_noticed(folder):
    content = json.loads(TOKENIZER.content)
    content["normalizer"] = None
    (folder / "tokenizer.json").write_text(json.dumps(content))
    refused(folder, r"saved with another tokenizer\.json")


def test_writing_to_the_file_does_not_change_a_loaded_model(folder):
    model = load_checkpoint(folder, SO101).model
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    path = folder / WEIGHTS
    with open(path, "rb+") as file:
        file.write(b"\0" * path.stat().st_size)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


class Tied(nn.Module):
    """Two names for one parameter, and two views of one block of memory."""

    def __init__(self, config, kinematics=None):
        super().__init__()
        self.embedding = nn.Embedding(7, 3)
        self.head = nn.Linear(3, 7, bias=False)
        self.head.weight = self.embedding.weight
        both = torch.arange(8.0)
        self.register_buffer("low", both[:4])
        self.register_buffer("high", both[4:])


def test_tied_tensors_are_saved_once_and_stay_tied(tmp_path, monkeypatch):
    saved = save(tmp_path, model=Tied(CONFIG))
    assert "head.weight" not in load_file(tmp_path / WEIGHTS)
    monkeypatch.setattr("multismolvla.policy.checkpoint.MultiSmolVLA", Tied)
    model = load_checkpoint(tmp_path, SO101).model
    assert model.head.weight is model.embedding.weight
    assert model.head.weight.requires_grad
    assert torch.equal(model.head.weight, saved.head.weight)
    assert model.high.tolist() == [4, 5, 6, 7]


@pytest.mark.parametrize("name", ["multismolvla.json", WEIGHTS, "tokenizer.json"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    refused(folder, f"{name}: .*[Nn]o such file")


@pytest.mark.parametrize("kept", [0, 4, 100, 0.5, 0.999])
def test_truncated_weights_are_refused(folder, kept):
    path = folder / WEIGHTS
    content = path.read_bytes()
    path.write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
    refused(folder, r"model\.safetensors: truncated, or no safetensors")


def test_weights_of_something_else_are_refused(folder):
    save_file({"x": torch.zeros(1)}, folder / WEIGHTS)
    refused(folder, "format is None; expected weights of this package")


def test_another_version_of_the_format_is_refused(folder):
    rewrite(folder / WEIGHTS, lambda tensors, metadata: metadata.update(version="2"))
    refused(folder, "format version is '2'; this package reads '1'")


def test_missing_tensors_are_counted(folder):
    def change(tensors, metadata):
        del tensors["state_proj.weight"], tensors["expert.norm.weight"]

    rewrite(folder / WEIGHTS, change)
    refused(folder, r"2 of \d+ tensors missing, the first 'expert\.norm\.weight'")


def test_missing_statistics_are_not_taken_for_granted(folder):
    rewrite(folder / WEIGHTS, lambda tensors, metadata: tensors.pop("normalizer.state_std"))
    refused(folder, r"1 of \d+ tensors missing, the first 'normalizer\.state_std'")


def test_unknown_tensors_are_counted(folder):
    rewrite(folder / WEIGHTS, lambda tensors, metadata: tensors.update(extra=torch.zeros(1)))
    refused(folder, r"1 of \d+ tensors unknown, the first 'extra'")


@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        (torch.zeros(3), r"wrong shape, the first 'state_proj\.bias' \(\(3,\) .* expected \(64,\)"),
        (torch.zeros(64, dtype=torch.int8), r"wrong type, the first .*int8; expected .*float32"),
    ],
)
def test_a_tensor_of_another_shape_or_type_is_named(folder, tensor, said):
    rewrite(folder / WEIGHTS, lambda tensors, _: tensors.update({"state_proj.bias": tensor}))
    refused(folder, said)


def test_damaged_statistics_are_refused(folder):
    def change(tensors, metadata):
        tensors["normalizer.action_std"][2] = torch.nan

    rewrite(folder / WEIGHTS, change)
    refused(folder, "action_std is .* expected finite numbers")


def test_a_checkpoint_for_another_robot_is_refused(tmp_path):
    save(tmp_path, dataclasses.replace(CONFIG, joints=("waist", *CONFIG.joints[1:])))
    refused(tmp_path, "states are waist, .*; the arm .so101. has shoulder_pan, ")


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"944 tokens .* text\.vocab_size = 512"):
        save(tmp_path, TINY)
    assert not list(tmp_path.iterdir())


def test_pickles_are_never_read(tmp_path, folder):
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")
    refused(folder, r"pytorch_model\.bin: may be a pickle.*only safetensors")
    torch.save({}, tmp_path / "model.pt")
    refused(tmp_path / "model.pt", r"model\.pt: may be a pickle.*only safetensors")


def test_a_place_that_is_no_checkpoint_is_named(tmp_path, folder):
    refused(tmp_path / "gone", "gone: no such folder; a model on the hub is named owner/name")
    refused("gone", "gone: no such folder")
    refused(folder / WEIGHTS, "is a file; expected the folder of a checkpoint")
    refused(tmp_path, r"multismolvla\.json: cannot read it: No such file")


# --- The hub, as a server on this machine ---


@pytest.fixture
def hub_at(tmp_path, monkeypatch):
    """Let the hub be at a port of this machine, with no copies yet."""

    def at(port):
        constants, url = huggingface_hub.constants, f"http://127.0.0.1:{port}"
        template = url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))

    return at


@pytest.fixture
def serve(folder, hub_at):
    """A hub that holds `folder` as acme/robot; gives the paths that are asked for."""
    revision = "0" * 40
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.answer(False)

        def do_GET(self):
            self.answer(True)

        def answer(self, with_body):
            asked.append(self.path)
            name = self.path.rpartition("/")[2]
            headers = {"X-Repo-Commit": revision, "ETag": f'"{name}"'}
            if not self.path.removeprefix("/api/models").startswith("/acme/robot"):
                headers["X-Error-Code"] = "RepoNotFound"
                code, body = 404, b"{}"
            elif "/tree/" in self.path:
                files = [
                    {"type": "file", "path": path.name, "size": path.stat().st_size, "oid": "0"}
                    for path in folder.iterdir()
                ]
                code, body = 200, json.dumps(files).encode()
            elif self.path.startswith("/api/"):
                code, body = 200, json.dumps({"id": "acme/robot", "sha": revision}).encode()
            else:
                code, body = 200, (folder / name).read_bytes()
            self.send_response(code)
            for key, value in (headers | {"Content-Length": str(len(body))}).items():
                self.send_header(key, value)
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    hub_at(server.server_port)
    yield asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_checkpoint_comes_from_the_hub_and_later_from_its_copy(serve, hub_at, folder):
    (folder / "danger.bin").write_bytes(b"pickle")
    (folder / "code.py").write_text("raise SystemExit")
    assert load_checkpoint("acme/robot", SO101).config == CONFIG
    assert any(path.endswith(WEIGHTS) for path in serve)
    assert not any(path.endswith((".bin", ".py")) for path in serve)
    hub_at(closed_port())
    assert load_checkpoint("acme/robot", SO101).config == CONFIG


def test_a_model_that_the_hub_does_not_have_is_named(serve):
    refused("acme/gone", "the hub has no model 'acme/gone', or no access for you")


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_an_unreachable_hub_is_one_clear_line(hub_at):
    hub_at(closed_port())
    refused("acme/robot", "'acme/robot' cannot be fetched .* connect this machine, or give a")


def test_a_hub_that_never_answers_is_not_waited_for(hub_at, monkeypatch):
    monkeypatch.setattr(hub, "TIMEOUT_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hub_at(silent.getsockname()[1])
        start = time.monotonic()
        refused("acme/robot", "'acme/robot' cannot be fetched")
    assert time.monotonic() - start < 5.0
