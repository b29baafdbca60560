"""Adapters on the Hugging Face Hub, always at a pinned commit: a branch may move between two nights."""

import re
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from tasks.files import InvalidInput, Problem

_ADDRESS = re.compile(r"^hub:(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>.+))?$")
_COMMIT = re.compile(r"^[0-9a-f]{40}$")
_FILES = ("adapter_config.json", "adapter_model*.safetensors", "adapter_model*.index.json", "adapter_model.bin")


def is_hub_address(text: str) -> bool:
    """Whether `hub:owner/name@commit` is meant, as opposed to a path."""
    return text.startswith("hub:")


def fetch_adapter(address: str) -> Path:
    """The local directory of `hub:owner/name@<40-digit commit>`, downloaded once into the Hub's own cache.

    Raises InvalidInput for an unpinned revision (a branch moves) and where the files cannot be had.
    """
    match = _ADDRESS.match(address)
    if match is None:
        raise InvalidInput(Problem(address, "it is not hub:owner/name@commit", "name owner, repository and commit"))
    revision = match["revision"] or ""
    if not _COMMIT.match(revision):
        remedy = f"pin it: hub:{match['repo']}@<40-digit commit>, as the repository's history shows it"
        raise InvalidInput(Problem(address, f"revision {revision or 'main'!r} can change under you", remedy))
    try:
        return Path(snapshot_download(match["repo"], revision=revision, allow_patterns=list(_FILES)))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        problem = f"it cannot be fetched ({type(error).__name__})"
        raise InvalidInput(Problem(address, problem, "check name, commit, access and network")) from error
