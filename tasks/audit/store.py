"""The audit in Parquet: `scores.parquet` by content, and `results.parquet`, one row for every trial and rule."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.audit.features import FEATURES
from tasks.audit.trials import Kind, Trial
from tasks.files import atomic_file, digest_value

_SCORES = pa.schema([("key", pa.string()), ("values", pa.list_(pa.float32()))])
RESULTS = pa.schema(
    [("kind", pa.string()), ("name", pa.string()), ("partner", pa.string()), ("rule", pa.string())]
    + [("gain", pa.float64()), ("ceiling", pa.float64())]
    + [(feature, pa.float64()) for feature in FEATURES]
    + [("audited_at", pa.timestamp("us", tz="UTC"))]
)


@dataclass(frozen=True, slots=True)
class Result:
    """A rule's gain in a trial, the gain of the members' own adapters there, and the features (len(FEATURES),)."""

    trial: Trial
    rule: str
    gain: float
    ceiling: float
    features: tuple[float, ...]
    audited_at: datetime


class ScoreStore:
    """Values of single samples by need; every file appears whole."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "scores"

    def read(self) -> dict[str, np.ndarray]:
        """All scores."""
        found: dict[str, np.ndarray] = {}
        for part in sorted(self._directory.glob("*.parquet")):
            table = pq.read_table(part, schema=_SCORES)
            values = table["values"].to_pylist()
            found |= dict(zip(table["key"].to_pylist(), map(np.array, values), strict=True))
        return found

    def add(self, scores: Mapping[str, np.ndarray]) -> None:
        """Write a part; its name follows from its keys."""
        if scores:
            self._write(f"part-{digest_value(sorted(scores))}.parquet", scores)

    def compact(self, keep: Collection[str]) -> None:
        """Leave one file with the scores in `keep`."""
        parts, known = sorted(self._directory.glob("*.parquet")), self.read()
        kept = {key: known[key] for key in sorted(keep) if key in known}
        if len(parts) == 1 and parts[0].name == "scores.parquet" and set(kept) == set(known):
            return
        self._write("scores.parquet", kept)
        for part in parts:
            if part.name != "scores.parquet":
                part.unlink()

    def _write(self, name: str, scores: Mapping[str, np.ndarray]) -> None:
        rows = [{"key": key, "values": np.asarray(values, dtype=np.float32)} for key, values in scores.items()]
        with atomic_file(self._directory / name) as temporary:
            pq.write_table(pa.Table.from_pylist(rows, schema=_SCORES), temporary, compression="zstd")


def write_results(directory: Path, results: Iterable[Result]) -> None:
    """Replace the results."""
    rows = [
        {
            "kind": one.trial.kind.value,
            "name": one.trial.name,
            "partner": one.trial.partner,
            "rule": one.rule,
            "gain": one.gain,
            "ceiling": one.ceiling,
            **dict(zip(FEATURES, one.features, strict=True)),
            "audited_at": one.audited_at,
        }
        for one in results
    ]
    with atomic_file(directory / "results.parquet") as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema=RESULTS), temporary, compression="zstd")


def read_results(directory: Path) -> tuple[Result, ...]:
    """The stored results; none where there is no audit yet."""
    path = directory / "results.parquet"
    if not path.is_file():
        return ()
    return tuple(
        Result(
            trial=Trial(Kind(row["kind"]), row["name"], row["partner"]),
            rule=row["rule"],
            gain=row["gain"],
            ceiling=row["ceiling"],
            features=tuple(row[name] for name in FEATURES),
            audited_at=row["audited_at"],
        )
        for row in pq.read_table(path, schema=RESULTS).to_pylist()
    )
