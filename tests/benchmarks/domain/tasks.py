"""From one Parquet of many tasks to one folder per task, in the columns that training and evaluation read."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

TRAINED, TESTED = 150, 24  # rows of a task at most; more make the run longer and hardly change the means


@dataclass(frozen=True, slots=True)
class Domain:
    """file and columns of a domain's Parquet, as {column there: column that our readers know}; samples see `seen`."""

    name: str
    file: str
    columns: tuple[tuple[str, str], ...]
    seen: tuple[str, ...]


SEGMENTATION = Domain("segmentation", "segmentation.parquet", (("image", "image"), ("mask", "mask")), ("image",))
REPORTS = Domain("reports", "report.parquet", (("input", "text"), ("text", "answer")), ("text",))
SYNTHESIS = Domain("synthesis", "synthesis.parquet", (("image", "image"), ("text", "text")), ("image",))
DOMAINS = {domain.name: domain for domain in (SEGMENTATION, REPORTS, SYNTHESIS)}


def lay_out(domain: Domain, data: Path, folder: Path) -> tuple[str, ...]:
    """Write labelled.parquet, samples.parquet and evaluation.parquet of every task below `folder`; the tasks' names."""
    table = pd.read_parquet(data / domain.file)
    names = tuple(sorted(table["task"].unique()))
    for name in names:
        rows = table[table["task"] == name]
        train = _renamed(_some(rows[rows["split"] == "train"], TRAINED, name), domain)
        test = _renamed(_some(rows[rows["split"] == "test"], TESTED, name), domain)
        _write(train, folder / name / "labelled.parquet")
        _write(train[list(domain.seen)], folder / name / "samples.parquet")
        _write(test, folder / name / "evaluation.parquet")
    return names


def siblings(name: str, names: Sequence[str]) -> set[str]:
    """Tasks whose names start with the same word: the same images, writers or sources with other labels."""
    return {other for other in names if other != name and other.split("_")[0] == name.split("_")[0]}


def _some(rows: pd.DataFrame, count: int, name: str) -> pd.DataFrame:
    order = np.random.default_rng(zlib.crc32(name.encode())).permutation(len(rows))
    return rows.iloc[np.sort(order[:count])]


def _renamed(rows: pd.DataFrame, domain: Domain) -> pd.DataFrame:
    return pd.DataFrame({ours: rows[theirs].to_list() for theirs, ours in domain.columns})


def _write(rows: pd.DataFrame, path: Path) -> None:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pandas(rows, preserve_index=False), path)
