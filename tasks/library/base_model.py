"""The base model: where it lies and what it is, by content."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.files import DigestCache, InvalidInput, Problem, digest_value

_NEEDED = ["*.json", "*.safetensors", "*.txt", "*.model"]  # never pickled weights, never code


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A resolved base model: its name as written, the pinned revision, the local directory, and its content digest."""

    name: str
    revision: str | None
    path: Path
    digest: str

    def config(self) -> dict[str, Any]:
        """Content of config.json, or of a pipeline's model_index.json."""
        for file in ("config.json", "model_index.json"):
            if (self.path / file).is_file():
                return dict(json.loads((self.path / file).read_text(encoding="utf-8")))
        return {}


def resolve_base(base_model: str, revision: str | None, root: Path, cache: DigestCache) -> BaseModel:
    """Find the base model in a local directory (relative to `root`) or on the hub (cache first, then network).

    A hub model's digest is that of its name and commit; a directory's is that of its files. Raises InvalidInput.
    """
    local = (root / Path(base_model).expanduser()).resolve()
    if local.is_dir():
        _check_directory(base_model, local)
        return BaseModel(base_model, revision, local, cache.tree(local))
    if base_model.startswith((".", "/", "~")) or base_model.count("/") > 1:
        raise InvalidInput(
            Problem(base_model, f"there is no directory {local}", "correct base_model in the project file")
        )
    path = _hub_directory(base_model, revision)
    _check_directory(base_model, path)
    return BaseModel(base_model, revision, path, digest_value(["hub", base_model, path.name]))


def _check_directory(name: str, path: Path) -> None:
    if not any((path / file).is_file() for file in ("config.json", "model_index.json")):
        raise InvalidInput(Problem(name, f"{path} has no config.json", "save the model there with save_pretrained"))
    if next(path.rglob("*.safetensors"), None) is None:
        raise InvalidInput(Problem(name, f"{path} has no safetensors weights", "save it with safe_serialization=True"))


def _hub_directory(name: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=_NEEDED, local_files_only=True))
    except HFValidationError as error:
        raise InvalidInput(
            Problem(name, f"it is no directory and no hub id ({error})", "correct base_model")
        ) from error
    except LocalEntryNotFoundError:
        return _download(name, revision)


def _download(name: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=_NEEDED))
    except (OSError, ValueError) as error:  # every error of the hub client derives from one of the two
        remedy = "check the name and the revision, log in, or give a local directory"
        raise InvalidInput(
            Problem(name, f"it is no directory and the hub does not give it ({error})", remedy)
        ) from error
