"""Compositions in Parquet: one row per neighbour, one part per batch, compacted to one file."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.composition.composition import Composition, Neighbour
from tasks.files import atomic_file, digest_value

SCHEMA = pa.schema(
    [
        ("target", pa.string()),
        ("reference", pa.string()),
        ("weight", pa.float64()),
        ("position", pa.int32()),
        ("penalty", pa.float64()),
        ("residual", pa.float64()),
        ("coverage", pa.float64()),
        ("duality_gap", pa.float64()),
        ("snapshot", pa.string()),
        ("digest", pa.string()),
        ("distance", pa.float64()),
        ("prototype_digest", pa.string()),
        ("adapter_digest", pa.string()),
    ]
)
_COMPACTED = "compositions.parquet"


def _rows(composition: Composition) -> Iterable[dict[str, Any]]:
    for position, (neighbour, weight) in enumerate(zip(composition.neighbours, composition.weights, strict=True)):
        yield {
            "target": composition.target,
            "reference": neighbour.reference,
            "weight": weight,
            "position": position,
            "penalty": composition.penalty,
            "residual": composition.residual,
            "coverage": composition.coverage,
            "duality_gap": composition.duality_gap,
            "snapshot": composition.snapshot,
            "digest": composition.digest,
            "distance": neighbour.distance,
            "prototype_digest": neighbour.prototype_digest,
            "adapter_digest": neighbour.adapter_digest,
        }


def _composition(rows: list[dict[str, Any]]) -> Composition:
    rows = sorted(rows, key=lambda row: row["position"])
    first = rows[0]
    return Composition(
        target=first["target"],
        digest=first["digest"],
        snapshot=first["snapshot"],
        neighbours=tuple(
            Neighbour(row["reference"], row["distance"], row["prototype_digest"], row["adapter_digest"]) for row in rows
        ),
        weights=tuple(row["weight"] for row in rows),
        penalty=first["penalty"],
        residual=first["residual"],
        coverage=first["coverage"],
        duality_gap=first["duality_gap"],
    )


class CompositionStore:
    """The compositions of one workspace, keyed by target and digest."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def _parts(self) -> list[Path]:
        return sorted(self._directory.glob("*.parquet"))

    def read(self) -> dict[tuple[str, str], Composition]:
        """Every stored composition; a row that stands in two parts (a kill during compaction) counts once."""
        grouped: dict[tuple[str, str], dict[int, dict[str, Any]]] = defaultdict(dict)
        for part in self._parts():
            for row in pq.read_table(part, schema=SCHEMA).to_pylist():
                grouped[row["target"], row["digest"]][row["position"]] = row
        return {key: _composition(list(rows.values())) for key, rows in grouped.items()}

    def _write(self, name: str, compositions: Iterable[Composition]) -> None:
        table = pa.Table.from_pylist([row for item in compositions for row in _rows(item)], schema=SCHEMA)
        with atomic_file(self._directory / name) as temporary:
            pq.write_table(table, temporary, compression="zstd")

    def add(self, compositions: Collection[Composition]) -> None:
        """Write a part; its name follows from its content."""
        if compositions:
            name = digest_value([[item.target, item.digest] for item in compositions])
            self._write(f"part-{name}.parquet", compositions)

    def compact(self, keep: Collection[tuple[str, str]]) -> None:
        """Leave one file with the compositions in `keep`, which is untouched where it says so already."""
        known = self.read()
        parts = self._parts()
        if set(known) == set(keep) and [part.name for part in parts] == [_COMPACTED]:
            return
        self._write(_COMPACTED, [known[key] for key in sorted(keep) if key in known])
        for part in parts:
            if part.name != _COMPACTED:
                part.unlink()
