"""Every form in which samples may lie gives the same rows, in a stream."""

import io
import json
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tasks.files import DigestCache, InvalidInput
from tasks.library.samples import columns_of, count_rows, digest_of, iter_samples

TEXTS = ["one", "two, with a comma", "three\nwith a line", "4", "fünf"]


def save_texts(path: Path) -> str:
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"text": TEXTS, "other": range(5)}), path, row_group_size=2)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    elif path.suffix == ".csv":
        path.write_text("text,other\n" + "".join(f'"{text}",{row}\n' for row, text in enumerate(TEXTS)))
    else:  # the layout of `Dataset.save_to_disk`
        path.mkdir()
        table = pa.table({"text": TEXTS})
        for shard, part in enumerate((table.slice(0, 3), table.slice(3))):
            with pa.ipc.new_stream(path / f"data-{shard}.arrow", table.schema) as writer:
                writer.write_table(part)
        files = [{"filename": "data-0.arrow"}, {"filename": "data-1.arrow"}]
        (path / "state.json").write_text(json.dumps({"_data_files": files}))
    return str(path)


@pytest.mark.parametrize("name", ["s.parquet", "s.jsonl", "s.csv", "dataset"])
def test_every_format_gives_the_same_rows_in_small_batches(tmp_path: Path, name: str) -> None:
    uri = save_texts(tmp_path / name)
    batches = list(iter_samples(uri, columns=["text"], batch_rows=2))
    assert [text for batch in batches for text in batch.column("text").to_pylist()] == TEXTS
    assert max(batch.num_rows for batch in batches) <= 2
    assert count_rows(uri) == 5
    assert "text" in columns_of(uri)


@pytest.mark.parametrize("name", ["s.parquet", "s.jsonl", "s.csv"])
def test_a_url_gives_the_same_rows_and_has_a_digest(tmp_path: Path, name: str) -> None:
    content = Path(save_texts(tmp_path / name)).read_bytes()
    url = f"memory://samples/{name}"
    with fsspec.open(url, "wb") as handle:
        handle.write(content)
    rows = [text for batch in iter_samples(url, columns=["text"], batch_rows=2) for text in batch["text"].to_pylist()]
    assert rows == TEXTS
    assert digest_of(url, DigestCache()) == digest_of(url, DigestCache())


def test_an_image_folder_gives_its_files_in_order_of_name(tmp_path: Path) -> None:
    for name, grey in (("b/two.png", 2), ("a.png", 1), ("c.PNG", 3)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (2, 2), grey).save(tmp_path / name, format="png")
    (tmp_path / "notes.md").touch()
    rows = [row for batch in iter_samples(str(tmp_path), columns=None, batch_rows=2) for row in batch.to_pylist()]
    assert [row["file"] for row in rows] == ["a.png", "b/two.png", "c.PNG"]
    assert [Image.open(io.BytesIO(row["image"])).getpixel((0, 0)) for row in rows] == [1, 2, 3]


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_line_may_be_long(tmp_path: Path, suffix: str) -> None:
    long = "word " * 600_000  # 3 MB; the readers' own block is 1 MB
    path = tmp_path / f"s.{suffix}"
    path.write_text(f'text\n"{long}"\nb\n' if suffix == "csv" else f'{{"text":"{long}"}}\n{{"text":"b"}}\n')
    rows = [text for batch in iter_samples(str(path), columns=["text"], batch_rows=9) for text in batch[0].to_pylist()]
    assert rows == [long, "b"]


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits" / "dataset_dict.json").touch()
    (tmp_path / "s.pickle").touch()
    for name, message in {
        "gone.csv": "there is no such file",
        "empty": "the directory holds no samples",
        "splits": "has several splits; name one split's directory",
        "s.pickle": "samples cannot be read from .pickle",
    }.items():
        with pytest.raises(InvalidInput, match=message):
            list(iter_samples(str(tmp_path / name), columns=None, batch_rows=2))
