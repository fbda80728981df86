"""Loading whatever a person may mean by a checkpoint: ours, or SmolVLA as LeRobot writes it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from multismolvla.embodiment.description import Embodiment
from multismolvla.policy.checkpoint import CONFIG, TOKENIZER, Checkpoint, load_checkpoint, resolve
from multismolvla.policy.hub import TIMEOUT_S, HubError
from multismolvla.policy.lerobot_checkpoint import VLM_NAME, is_lerobot, load_lerobot
from multismolvla.policy.lerobot_normalization import StatisticsChoice
from multismolvla.policy.tokenizer import Tokenizer


def load_any_checkpoint(
    source: str | Path,
    embodiment: Embodiment,
    cameras: Mapping[str, str] | None = None,
    choice: StatisticsChoice | None = None,
    *,
    weights_only: bool = False,
) -> Checkpoint:
    """Load a folder, what the package ships or a model on the hub; weights become float32.

    A folder of LeRobot holds no tokenizer: a `tokenizer.json` in it is read, else
    SmolVLM's is fetched.

    Args:
        embodiment: the arm that it is to move.
        cameras: camera of a LeRobot checkpoint -> our stream, for example `{"camera1": "rgb"}`.
        choice: unit and statistics of a LeRobot checkpoint, where its files leave them open.
        weights_only: for training on: a LeRobot checkpoint's statistics are neither read nor
            needed, and its normaliser changes no number.

    Raises:
        ValueError: a part is missing or damaged, it moves another arm,
            or `cameras` or a `choice` are given for a checkpoint that
            leaves nothing open; one line.
    """
    folder = resolve(source)
    if (folder / CONFIG).exists() or not is_lerobot(folder):
        if cameras:
            raise ValueError(f"{folder}: has a stream table of its own; expected no cameras")
        if choice not in (None, StatisticsChoice()):
            raise ValueError(
                f"{folder}: has statistics in radians of its own; expected no units, statistics or "
                "calibration"
            )
        checkpoint = load_checkpoint(folder, embodiment)
        checkpoint.model.float()
        return checkpoint
    choice = choice or StatisticsChoice()
    model, normalizer = load_lerobot(
        folder,
        embodiment,
        cameras=cameras,
        units=choice.units,
        statistics=choice.source,
        travel_rad=choice.travel_rad,
        weights_only=weights_only,
    )
    file = folder / TOKENIZER
    tokenizer = Tokenizer.load(
        file if file.exists() else _fetch_tokenizer(), model.config.max_language_tokens
    )
    size, limit = tokenizer.vocabulary_size, model.config.text.vocab_size
    if size > limit:
        raise ValueError(f"{folder}: the tokenizer has {size} tokens and the model {limit}")
    return Checkpoint(model, model.config, tokenizer, normalizer)


def _fetch_tokenizer() -> Path:
    # Imported here: half a second, needed only for the hub.
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(VLM_NAME, TOKENIZER, etag_timeout=TIMEOUT_S))
    except Exception as error:  # each version's HTTP library has classes of its own
        cause = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise HubError(
            f"{TOKENIZER} of '{VLM_NAME}' cannot be fetched from the hub and no copy of it is here "
            f"({cause}): connect this machine, or put the file into the checkpoint's folder"
        ) from None
