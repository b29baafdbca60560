"""The calibration that compositions rest on, kept between nights.

One changed reference moves the library's spread a little. Were the spread taken afresh every night, every penalty and
so every composition would change with it. It is kept until it has drifted by a stated factor.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.files import atomic_file, digest_bytes
from tasks.projection.calibration import Calibration, drifted


def calibration_digest(calibration: Calibration) -> str:
    """Identity of a calibration, by its numbers."""
    spread = np.float64(calibration.spread).tobytes()
    return digest_bytes(calibration.centre.tobytes(), calibration.within_std.tobytes(), spread)


def read_calibration(path: Path) -> Calibration | None:
    """The stored calibration, or None where there is none yet."""
    if not path.is_file():
        return None
    row = pq.read_table(path).to_pylist()[0]
    return Calibration(np.array(row["centre"]), np.array(row["within_std"]), row["spread"])


def _write(path: Path, calibration: Calibration) -> None:
    columns = {
        "centre": [calibration.centre.tolist()],
        "within_std": [calibration.within_std.tolist()],
        "spread": [calibration.spread],
    }
    with atomic_file(path) as temporary:
        pq.write_table(pa.table(columns), temporary)


def settled_calibration(path: Path, fresh: Calibration, *, factor: float) -> Calibration:
    """The stored calibration while it still fits `fresh`; else `fresh`, which is then stored."""
    stored = read_calibration(path)
    fits = stored is not None and len(stored.centre) == len(fresh.centre) and not drifted(stored, fresh, factor=factor)
    if stored is not None and fits:
        return stored
    _write(path, fresh)
    return fresh
