"""A change of what the room puts out has to come with a new VERSION."""

from dataclasses import replace
from pathlib import Path

from tasks.files import DigestCache, digest_value
from tasks.library import VERSION
from tasks.library.base_model import BaseModel
from tasks.library.entries import Entry
from tasks.library.snapshot import take_snapshot


def test_the_snapshot_of_fixed_content_has_the_digest_of_this_version(tmp_path: Path) -> None:
    """Derivation: the digest of the room's version, the base model's digest and each reference's content in order."""
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    (tmp_path / "samples.jsonl").write_text('{"text": "a"}\n')
    entry = Entry("a", str(tmp_path / "adapter"), str(tmp_path / "samples.jsonl"), None, "first")
    base = BaseModel("base", None, tmp_path, "base-digest")
    found = take_snapshot([replace(entry, name="b"), entry], base=base, cache=DigestCache())
    cache = DigestCache()
    content = [cache.tree(tmp_path / "adapter"), cache.file(tmp_path / "samples.jsonl"), None, "first"]
    derived = digest_value(["snapshot", VERSION, "base-digest", [["a", *content], ["b", *content]]])
    assert (VERSION, found.digest) == ("1", derived)
    assert derived == "4f49c37a6c54a1c27395f4e982542d00"
