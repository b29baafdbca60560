"""The three forms of `library` and `targets`, and what a wrong one says."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.files import InvalidInput
from tasks.library.discovery import discover
from tasks.library.entries import Entry


def test_a_list_gives_absolute_paths_and_leaves_urls_alone(tmp_path: Path) -> None:
    rows = [
        {"name": "a", "adapter": "a/adapter", "samples": "s3://bucket/a.parquet"},
        {"name": "b", "samples": "/data/b.csv", "evaluation": "e.csv", "description": "nuclei"},
    ]
    assert discover(rows, root=tmp_path) == (
        Entry("a", str(tmp_path / "a/adapter"), "s3://bucket/a.parquet", None, None),
        Entry("b", None, "/data/b.csv", str(tmp_path / "e.csv"), "nuclei"),
    )


def test_an_unknown_key_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"entry 2: unknown key 'adaptor'; use only name, adapter, samples"):
        discover([{"name": "a"}, {"name": "b", "adaptor": "x"}], root=tmp_path)


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_the_three_manifests_say_the_same(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "sub").mkdir()
    path = tmp_path / "sub" / f"manifest.{suffix}"
    if suffix == "csv":
        path.write_text("name,adapter,samples,description\na,a/ad,a.csv,\nb,b/ad,b.csv,two words\n")
    elif suffix == "jsonl":
        path.write_text(
            '{"name":"a","adapter":"a/ad","samples":"a.csv"}\n'
            '{"name":"b","adapter":"b/ad","samples":"b.csv","description":"two words"}\n'
        )
    else:
        columns = {"name": ["a", "b"], "adapter": ["a/ad", "b/ad"], "samples": ["a.csv", "b.csv"]}
        pq.write_table(pa.table(columns | {"description": [None, "two words"]}), path)
    below = path.parent
    assert discover(f"sub/{path.name}", root=tmp_path) == (
        Entry("a", str(below / "a/ad"), str(below / "a.csv"), None, None),
        Entry("b", str(below / "b/ad"), str(below / "b.csv"), None, "two words"),
    )


@pytest.mark.parametrize("source", ["library/*", "library"])
def test_a_glob_takes_directories_in_order_of_name(tmp_path: Path, source: str) -> None:
    for name in ("b", "a"):
        (tmp_path / "library" / name / "adapter").mkdir(parents=True)
    (tmp_path / "library" / ".hidden").mkdir()
    (tmp_path / "library" / "a" / "samples.jsonl").touch()
    (tmp_path / "library" / "a" / "evaluation.csv").touch()
    (tmp_path / "library" / "a" / "description.txt").write_text("nuclei\n")
    a, b = tmp_path / "library/a", tmp_path / "library/b"
    assert discover(source, root=tmp_path) == (
        Entry("a", str(a / "adapter"), str(a / "samples.jsonl"), str(a / "evaluation.csv"), "nuclei"),
        Entry("b", str(b / "adapter"), str(b / "samples.parquet"), None, None),
    )


def test_nothing_found_and_an_unreadable_manifest_name_themselves(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"nowhere/\*: no directory matches; give a list, a directory glob"):
        discover("nowhere/*", root=tmp_path)
    with pytest.raises(InvalidInput, match=r"gone\.csv: the manifest cannot be read"):
        discover("gone.csv", root=tmp_path)
