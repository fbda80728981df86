"""`base` before its training: SmolVLA behind the encoder of 4M-21."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from multismolvla.policy.config import FourMConfig
from multismolvla.policy.fourm import FourMEncoder
from multismolvla.policy.fourm_views import FourMViews
from multismolvla.policy.hub import download
from multismolvla.policy.model import MultiSmolVLA
from multismolvla.streams import Stream

# Load the encoder of released 4M-21 weights (`EPFL-VILAB/4M-21_B`, `_L`, `_XL`), safetensors only.
#
# The files hold the decoder and more modalities too; what a model does not have is left unread.

RGB = "encoder_embeddings.rgb@224."


def load_encoder(
    encoder: FourMEncoder, source: str | Path, resolve: Callable[[str], Path] = download
) -> None:
    """Fill the whole encoder, embeddings of its modalities included.

    Args:
        source: a safetensors file, a folder of them, or the id of a hub repository.
        resolve: turns a hub id into a local folder.

    Raises:
        ValueError: the source cannot be read or does not fit; the message names file, key and what
            was expected. The encoder is then as it was.
    """
    wanted = {key: value.shape for key, value in encoder.state_dict().items()}
    encoder.load_state_dict(_read(_files(source, resolve), wanted))


def initialise_views(
    views: FourMViews, source: str | Path, resolve: Callable[[str], Path] = download
) -> None:
    """Start the policy's encoder from 4M-21: blocks, positions, and RGB's patches and embedding.

    The patches of the other kinds stay as they are: 4M-21 knows them only as tokens. Arguments and
    errors as in `load_encoder`.
    """
    ours_to_theirs = {f"blocks.{key}": key for key in views.blocks.state_dict()}
    ours_to_theirs["pos_emb"] = RGB + "pos_emb"
    if "rgb" in views.patches:
        ours_to_theirs["patches.rgb.proj.weight"] = RGB + "proj.weight"
        ours_to_theirs["kind_embedding.rgb"] = RGB + "mod_emb"
    state = views.state_dict()
    wanted = {theirs: state[ours].shape for ours, theirs in ours_to_theirs.items()}
    found = _read(_files(source, resolve), wanted)
    state.update({ours: found[theirs] for ours, theirs in ours_to_theirs.items()})
    views.load_state_dict(state)


def _files(source: str | Path, resolve: Callable[[str], Path]) -> list[Path]:
    path = Path(source)
    if not path.exists():
        try:
            path = Path(resolve(str(source)))
        except (ImportError, OSError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise ValueError(
                f"{source}: no such file or folder, and not found on the hub: {reason}"
            ) from None
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    if not files:
        raise ValueError(f"{path}: no safetensors file in this folder; expected 4M-21 weights")
    return files


def _read(files: list[Path], wanted: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    """Read the wanted keys, and make sure that nothing of the encoder is left over."""
    found: dict[str, Tensor] = {}
    for file in files:
        try:
            with safe_open(file, "pt") as content:
                keys = set(content.keys())
                for key in wanted:
                    stored = key if key in keys else _shared(key)
                    if stored not in keys or (key in found and stored != key):
                        continue
                    shape = tuple(content.get_slice(stored).get_shape())
                    if shape != tuple(wanted[key]):
                        raise ValueError(
                            f"{file}: {stored} has shape {shape}; expected {tuple(wanted[key])}"
                        )
                    found[key] = content.get_tensor(stored)
                for key in sorted(keys):
                    _refuse_other_architecture(file, content, key, wanted)
        except (OSError, SafetensorError) as error:
            raise ValueError(f"{file}: a truncated or damaged safetensors file: {error}") from None
    missing = [key for key in wanted if key not in found]
    if missing:
        raise ValueError(
            f"{files[0]}: missing key {missing[0]}; expected shape {tuple(wanted[missing[0]])}"
        )
    return found


def _shared(key: str) -> str:
    """Where a modality's embedding is stored if encoder and decoder share it: only once."""
    if key.endswith(".mod_emb"):
        return key.replace("encoder_embeddings.", "decoder_embeddings.", 1)
    return key


def _refuse_other_architecture(
    file: Path, content: safe_open, key: str, wanted: Mapping[str, torch.Size]
) -> None:
    """More layers, biases or query norms would be left out in silence, and the result be wrong."""
    if key in wanted or not key.startswith(("encoder.", "encoder_norm.")):
        return
    is_zero_bias = key.endswith(".bias") and key.removesuffix("bias") + "weight" in wanted
    if not is_zero_bias or content.get_tensor(key).any():
        raise ValueError(f"{file}: unexpected key {key}; expected a smaller encoder without biases")


def with_fourm_encoder(
    smolvla: MultiSmolVLA,
    streams: Sequence[Stream],
    fourm: FourMConfig,
    weights: str | Path,
    resolve: Callable[[str], Path] = download,
) -> MultiSmolVLA:
    """Replace the RGB encoder of a plain SmolVLA by 4M-21's, for all streams of a robot.

    Language model, expert and projections are the given model's, shared and not copied. The
    connector, the availability token and the patches of depth, thermal and segmentation are new
    and must be trained. The connector starts at the size of the language embeddings, so that
    attention overlooks neither.

    Args:
        weights: of 4M-21: a file, a folder or a hub id such as `EPFL-VILAB/4M-21_B`.

    Raises:
        ValueError: the weights of 4M-21 cannot be had or do not fit.
    """
    config = dataclasses.replace(
        smolvla.config, encoder="fourm", siglip=None, fourm=fourm, streams=tuple(streams)
    )
    model = MultiSmolVLA(config, smolvla.kinematics)
    for name, part in smolvla.named_children():
        if name != "visual":
            setattr(model, name, part)
    visual = model.visual
    assert isinstance(visual, FourMViews)
    initialise_views(visual, weights, resolve)
    with torch.no_grad():
        embeddings = model.text.embed_tokens.weight * config.text.hidden_size**0.5
        nn.init.constant_(visual.connector.norm.weight, float(embeddings.square().mean().sqrt()))
    return model
