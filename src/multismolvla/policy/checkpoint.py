"""Checkpoints: a folder with `multismolvla.json`, `model.safetensors` and `tokenizer.json`.

Nothing is ever unpickled. The weights name the version of this layout and the fingerprints of the
other two files, so that a folder whose parts do not belong together is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from multismolvla.embodiment.description import Embodiment, EmbodimentError
from multismolvla.one_line import one_line
from multismolvla.policy import config as configuration
from multismolvla.policy.config import ConfigError, PolicyConfig, load_config
from multismolvla.policy.hub import HUB_ID, HubError, download
from multismolvla.policy.model import MultiSmolVLA
from multismolvla.policy.normalization import Normalizer
from multismolvla.policy.shipped import WEIGHTS, NotShippedError, shipped_folder
from multismolvla.policy.tokenizer import FILE_NAME as TOKENIZER
from multismolvla.policy.tokenizer import Tokenizer, TokenizerError

CONFIG = configuration.FILE_NAME
VERSION = "1"
NORMALIZER_PREFIX = "normalizer."
PICKLED = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"}


class CheckpointError(ValueError):
    """The checkpoint cannot be used; one line that names file, reason and what was expected."""


class Checkpoint(NamedTuple):
    """All that is needed to act."""

    model: MultiSmolVLA
    config: PolicyConfig
    tokenizer: Tokenizer
    normalizer: Normalizer


def save_checkpoint(
    folder: str | Path,
    model: nn.Module,
    config: PolicyConfig,
    tokenizer: Tokenizer,
    normalizer: Normalizer,
) -> None:
    """Write a checkpoint; what else is in the folder stays.

    Each file is complete or the old one: written beside and then renamed, the weights last.

    Raises:
        CheckpointError: the tokenizer has more tokens than the model.
    """
    _check_vocabulary(config, tokenizer)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as name:
        beside = Path(name)
        config.save(beside)
        (beside / TOKENIZER).write_text(tokenizer.content, encoding="utf-8")
        metadata = {"format": "multismolvla", "version": VERSION}
        # Of what will be read, in which 15 may have become 15.0.
        metadata |= _fingerprints(load_config(beside), tokenizer)
        save_file(_tensors_to_save(model, normalizer), beside / WEIGHTS, metadata)
        # safetensors lets only the owner read what it writes.
        shutil.copymode(beside / CONFIG, beside / WEIGHTS)
        for file in (CONFIG, TOKENIZER, WEIGHTS):
            with open(beside / file, "rb+") as written:
                os.fsync(written.fileno())
            os.replace(beside / file, folder / file)


def load_checkpoint(
    source: str | Path, embodiment: Embodiment, device: str | torch.device = "cpu"
) -> Checkpoint:
    """Load a checkpoint from a folder, or by its name: see `resolve`.

    The numbers keep the type that they were saved in.

    Args:
        embodiment: the arm that it is to move.

    Raises:
        CheckpointError: a part is missing, damaged or of something else, or it moves another arm.
    """
    folder = resolve(source)
    path = folder / WEIGHTS
    try:
        config = load_config(folder)
        tokenizer = Tokenizer.load(folder / TOKENIZER, config.max_language_tokens)
    except (ConfigError, TokenizerError) as error:
        raise CheckpointError(str(error)) from None
    try:
        embodiment.check_policy(config.joints, config.action_names, f"{folder / CONFIG}")
    except EmbodimentError as error:
        raise CheckpointError(str(error)) from None
    if config.objects and embodiment.kinematics is None:
        raise CheckpointError(
            f"{folder / CONFIG}: objects is {', '.join(config.objects)}; expected none, since "
            f"nothing is known of the kinematics of the arm '{embodiment.name}'"
        )
    _check_vocabulary(config, tokenizer)
    found = _read(path, _fingerprints(config, tokenizer), device)
    with Unfilled():
        model = MultiSmolVLA(config, embodiment.kinematics)
    expected = model.state_dict(keep_vars=True)
    expected |= Normalizer(config, embodiment.kinematics).state_dict(prefix=NORMALIZER_PREFIX)
    _untie(expected, found)
    _check_tensors(path, expected, found)
    given = {
        name.removeprefix(NORMALIZER_PREFIX): found.pop(name)
        for name in list(found)
        if name.startswith(NORMALIZER_PREFIX)
    }
    try:
        # Small and read by the caller's thread: stays on the processor.
        given = {name: value.cpu() for name, value in given.items()}
        normalizer = Normalizer(config, embodiment.kinematics, **given)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from None
    model.load_state_dict(found, assign=True)
    return Checkpoint(model, config, tokenizer, normalizer)


class Unfilled(TorchFunctionMode):
    """Parameters of modules made within are to be replaced at once: nothing is drawn for them, and
    memory that is never written costs nothing.

    The meta device would do the same, but to multiply there torch imports its compiler: seconds,
    and 130 MB that stay.
    """

    _DRAWING = frozenset({Tensor.normal_, Tensor.uniform_, Tensor.fill_, Tensor.zero_})

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in self._DRAWING or getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def resolve(source: str | Path) -> Path:
    """Return the folder of a checkpoint.

    Args:
        source: the name of one that comes with the package, `small`; a folder; or the id
            `owner/name` of one on the hub, which is fetched. What fits several is the first.

    Raises:
        CheckpointError: there is none.
    """
    try:
        shipped = shipped_folder(source)
    except NotShippedError as error:
        raise CheckpointError(str(error)) from None
    if shipped is not None:
        return shipped
    path = Path(source).expanduser()
    if path.is_dir():
        if not (path / WEIGHTS).exists():
            pickles = sorted(file.name for file in path.iterdir() if file.suffix in PICKLED)
            if pickles:
                _refuse_pickle(path / pickles[0])
        return path
    if path.suffix in PICKLED:
        _refuse_pickle(path)
    if path.exists():
        raise CheckpointError(f"{path}: is a file; expected the folder of a checkpoint")
    if not HUB_ID.fullmatch(str(source)):
        raise CheckpointError(f"{path}: no such folder; a model on the hub is named owner/name")
    try:
        return download(str(source))
    except HubError as error:
        raise CheckpointError(str(error)) from None


def _refuse_pickle(path: Path) -> None:
    raise CheckpointError(
        f"{path}: may be a pickle, which can run any code when it is read; only safetensors are "
        f"loaded, as {WEIGHTS}"
    )


def _check_vocabulary(config: PolicyConfig, tokenizer: Tokenizer) -> None:
    size, limit = tokenizer.vocabulary_size, config.text.vocab_size
    if size > limit:
        raise CheckpointError(
            f"{TOKENIZER} has {size} tokens and the model text.vocab_size = {limit}: "
            "they do not belong together"
        )


def _fingerprints(config: PolicyConfig, tokenizer: Tokenizer) -> dict[str, str]:
    parts = {
        "config_sha256": json.dumps(config.content(), sort_keys=True),
        "tokenizer_sha256": tokenizer.content,
    }
    return {key: hashlib.sha256(text.encode()).hexdigest() for key, text in parts.items()}


def _tensors_to_save(model: nn.Module, normalizer: Normalizer) -> dict[str, Tensor]:
    """All tensors under their names; what is tied is there once, under its first name."""
    named = model.state_dict(keep_vars=True)
    named |= normalizer.state_dict(prefix=NORMALIZER_PREFIX, keep_vars=True)
    unique = {id(tensor): name for name, tensor in reversed(named.items())}
    tensors, storages = {}, set()
    for name in unique.values():
        tensor = named[name].detach().cpu().contiguous()
        # Different tensors in one block of memory, which the format refuses.
        shared = tensor.untyped_storage().data_ptr() in storages
        tensors[name] = tensor.clone() if shared else tensor
        storages.add(tensors[name].untyped_storage().data_ptr())
    return tensors


def _read(
    path: Path, fingerprints: Mapping[str, str], device: str | torch.device
) -> dict[str, Tensor]:
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            _check_metadata(path, metadata, fingerprints)
            # Copies: the file's own pages are unaligned, and change when someone writes to it.
            return {
                name: file.get_tensor(name).to(device, copy=True)
                for name in file.keys()  # noqa: SIM118
            }
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except (OSError, SafetensorError) as error:
        cause = one_line(error)
        raise CheckpointError(f"{path}: truncated, or no safetensors: {cause}") from None


def _check_metadata(
    path: Path, metadata: Mapping[str, str], fingerprints: Mapping[str, str]
) -> None:
    if metadata.get("format") != "multismolvla":
        raise CheckpointError(
            f"{path}: format is {metadata.get('format')!r}; expected weights of this package"
        )
    if metadata.get("version") != VERSION:
        raise CheckpointError(
            f"{path}: format version is {metadata.get('version')!r}; this package reads {VERSION!r}"
        )
    for key, file in (("config_sha256", CONFIG), ("tokenizer_sha256", TOKENIZER)):
        if metadata.get(key) != fingerprints[key]:
            raise CheckpointError(f"{path}: the weights were saved with another {file}")


def _untie(expected: Mapping[str, Tensor], found: dict[str, Tensor]) -> None:
    """Give every name of a tied tensor the same parameter, by which it stays tied."""
    groups: dict[int, list[str]] = {}
    for name, tensor in expected.items():
        groups.setdefault(id(tensor), []).append(name)
    for names in groups.values():
        stored = [name for name in names if name in found]
        if len(names) > 1 and stored:
            tied = found[stored[0]]
            if isinstance(expected[names[0]], nn.Parameter):
                tied = nn.Parameter(tied, requires_grad=False)  # loading sets it as it was
            found |= dict.fromkeys(names, tied)


def _check_tensors(path: Path, expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    both = expected.keys() & found.keys()
    wrong = {
        "missing": expected.keys() - found.keys(),
        "unknown": found.keys() - expected.keys(),
        "of the wrong shape": {name for name in both if found[name].shape != expected[name].shape},
        "of the wrong type": {
            name
            for name in both
            if found[name].is_floating_point() != expected[name].is_floating_point()
        },
    }
    for problem, names in wrong.items():
        if names:
            first = min(names)
            detail = ""
            if first in both:
                detail = (
                    f" ({tuple(found[first].shape)} {found[first].dtype}; "
                    f"expected {tuple(expected[first].shape)} {expected[first].dtype})"
                )
            raise CheckpointError(
                f"{path}: the weights are of another model: {len(names)} of "
                f"{len(expected)} tensors {problem}, the first '{first}'{detail}"
            )
