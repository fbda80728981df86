"""Checkpoints from the Hugging Face hub, or the copy of them on this machine."""

from __future__ import annotations

import re
from pathlib import Path

# What the hub allows in the name of an owner and of a model.
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
# Nothing that could hold code, above all no pickles.
PATTERNS = ["*.json", "*.safetensors"]
# For the first answer, of two attempts: a robot whose network is down starts from its copy.
TIMEOUT_S = 3.0


class HubError(ValueError):
    """Nothing could be fetched; the message names the id, the reason and what to do."""


def download(hub_id: str) -> Path:
    """Return the local folder of a model's newest version, fetched where it is not there yet.

    Where the hub does not answer, the copy fetched last is used.

    Raises:
        HubError: there is no such model, or the hub cannot be reached and there is no copy.
    """
    # Imported here: half a second, needed only for a model on the hub.
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        # First, because snapshot_download waits without end for a hub that never answers. Without a
        # revision, so that it records which copy is the newest.
        HfApi().model_info(hub_id, timeout=TIMEOUT_S)
        return Path(snapshot_download(hub_id, allow_patterns=PATTERNS))
    except RepositoryNotFoundError:
        raise HubError(
            f"the hub has no model '{hub_id}', or no access for you: check the name, or log in "
            "with 'hf auth login'"
        ) from None
    except Exception as error:  # each version's HTTP library has classes of its own
        cause = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    try:
        return Path(snapshot_download(hub_id, allow_patterns=PATTERNS, local_files_only=True))
    except LocalEntryNotFoundError:
        raise HubError(
            f"'{hub_id}' cannot be fetched from the hub and no copy of it is here ({cause}): "
            "connect this machine, or give a folder"
        ) from None
