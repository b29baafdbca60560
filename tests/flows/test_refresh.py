"""Refreshing a small library through the command."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from tests.conftest import tesserae
from tests.library.projects import random_rows, save_adapter, save_base, save_samples

pytestmark = pytest.mark.services

SAMPLES = 40


def write_project(root: Path, **prototypes: object) -> Path:
    """Three references far apart, each with samples close together but for the last, whose samples are scattered."""
    save_base(root)
    for place, (name, scatter) in enumerate({"a": 0.01, "b": 0.01, "scattered": 3.0}.items()):
        save_adapter(root / "library" / name / "adapter")
        rows = 3.0 * np.eye(64)[place] + scatter * np.array(random_rows(SAMPLES, place))
        save_samples(root / "library" / name / "samples.parquet", rows.tolist())
    target = {"name": "target", "samples": "library/a/samples.parquet"}
    settings = {"base_model": "base", "family": "encoder", "library": "library/*", "targets": [target]}
    (root / "project.yaml").write_text(yaml.safe_dump({**settings, "prototypes": prototypes}))
    return root


def test_auto_takes_more_samples_only_where_they_scatter_and_a_second_refresh_takes_none(tmp_path: Path):
    project = write_project(tmp_path, max_samples="auto", first_samples=4)
    first = tesserae("refresh", project, "--json")
    assert first.code == 0, first.err
    stored = pq.read_table(project / "workspace" / "prototypes")
    counts = dict(zip(stored["name"].to_pylist(), stored["count"].to_pylist(), strict=True))
    assert counts["a"] == counts["b"] == counts["target"] == 4
    assert counts["scattered"] > 4
    assert tesserae("refresh", project, "--json").json["prototypes_computed"] == 0


def test_auto_without_two_different_references_says_what_to_do(tmp_path: Path):
    project = write_project(tmp_path, max_samples="auto", first_samples=4)
    for name in ("b", "scattered"):
        (project / "library" / name / "samples.parquet").unlink()
    ended = tesserae("refresh", project)
    assert ended.code == 2
    assert "prototypes.max_samples" in ended.err
