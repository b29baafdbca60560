"""The base model is found where it lies, known by its content, and refused where it is not what it should be."""

import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError

from tasks.files import DigestCache, InvalidInput
from tasks.library.base_model import resolve_base
from tasks.library.module_shapes import module_shapes
from tests.library.projects import save_base, tiny_vit


def test_a_local_directory_is_known_by_its_content_not_its_place(tmp_path: Path) -> None:
    base = save_base(tmp_path)
    shutil.copytree(tmp_path / "base", tmp_path / "elsewhere" / "copy")
    copy = resolve_base("elsewhere/copy", None, tmp_path, DigestCache())
    assert (base.name, base.path) == ("base", (tmp_path / "base").resolve())
    assert copy.digest == base.digest
    assert base.config()["model_type"] == "vit"
    (copy.path / "config.json").write_text("{}")
    assert resolve_base("elsewhere/copy", None, tmp_path, DigestCache()).digest != base.digest


def test_what_is_no_model_is_refused_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "pickled").mkdir()
    (tmp_path / "pickled" / "config.json").write_text("{}")
    torch.save({}, tmp_path / "pickled" / "pytorch_model.bin")
    for name, message in {
        "./gone": r"there is no directory .*/gone; correct base_model",
        "empty": "has no config.json; save the model there with save_pretrained",
        "pickled": "has no safetensors weights; save it with safe_serialization=True",
    }.items():
        with pytest.raises(InvalidInput, match=message):
            resolve_base(name, None, tmp_path, DigestCache())


def test_a_hub_model_in_the_local_cache_is_known_by_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = tmp_path / "snapshots" / "0123abcd"
    tiny_vit().save_pretrained(commit)
    asked: list[dict] = []

    def snapshot_download(name: str, **options: object) -> str:
        asked.append({"name": name, **options})
        return str(commit)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    base = resolve_base("org/model", "v1", tmp_path, DigestCache())
    assert (base.name, base.revision, base.path) == ("org/model", "v1", commit)
    assert asked[0]["local_files_only"] is True
    assert not any(pattern.endswith((".bin", ".py")) for pattern in asked[0]["allow_patterns"])
    assert base.digest == resolve_base("org/model", "v1", tmp_path / "other", DigestCache()).digest


def test_a_hub_model_that_cannot_be_had_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def snapshot_download(name: str, **options: object) -> str:
        raise LocalEntryNotFoundError("not cached") if options.get("local_files_only") else OSError("no network")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    with pytest.raises(InvalidInput, match=r"org/model: .*the hub does not give it \(no network\); check the name"):
        resolve_base("org/model", None, tmp_path, DigestCache())


def test_module_shapes_are_those_of_the_model_in_memory(tmp_path: Path) -> None:
    base = save_base(tmp_path)
    expected = {
        name.removesuffix(".weight"): tuple(weight.shape)
        for name, weight in tiny_vit().named_parameters()
        if name.endswith(".weight")
    }
    assert module_shapes(base.path) == expected
    assert module_shapes(tmp_path) == {}
