"""The story of an audit, told on the digits example with real services."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.auditing import rules_of
from flows.settings import load_project
from tasks.audit.rules import BASE
from tests.conftest import edit_project, with_running_server
from tests.flows.small_audit import SMALL

pytestmark = pytest.mark.services


def small(project: Path, what: str) -> Any:
    command = [sys.executable, "-m", "tests.flows.small_audit", str(project), what]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500, env=with_running_server())
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def audited(project: Path) -> dict[str, Any]:
    return small(project, "audit")


@pytest.fixture(scope="module")
def story(night, tmp_path_factory) -> tuple[Path, dict[str, Any]]:
    project = Path(shutil.copytree(night.project, tmp_path_factory.mktemp("audit") / "project"))
    return project, audited(project)


def test_every_labelled_reference_is_left_out_once_by_every_rule(story):
    project, report = story
    assert report["failures"] == []
    rows = pq.read_table(project / "workspace" / "audit" / "results.parquet").to_pylist()
    left_out = {(row["name"], row["rule"]) for row in rows if row["kind"] == "left out"}
    rules = [rule.name for rule in rules_of(SMALL) if rule != BASE]
    assert left_out == {(one["name"], rule) for one in _library(project) for rule in rules}


def _library(project: Path) -> list[dict[str, Any]]:
    listed = load_project(project).settings.library
    assert not isinstance(listed, str)
    return listed


def test_a_second_audit_with_nothing_changed_scores_nothing_and_says_the_same(story):
    project, report = story
    again = audited(project)
    assert again["scored"] == 0
    assert again["known"] == report["scored"] + report["known"]
    assert {key: value for key, value in again.items() if key not in ("scored", "known")} == {
        key: value for key, value in report.items() if key not in ("scored", "known")
    }


def test_the_first_audit_scores_each_distinct_blend_once(story):
    _, report = story
    assert report["known"] == 0
    # 6 references, at most 8 rules on 6 + 2 x 12 + 2 x 6 evaluation sets, the references' own adapters and 12 transfers
    assert 0 < report["scored"] <= 8 * 42 + 12 + 12


def test_targets_that_combine_references_are_told_from_the_left_out_references(story):
    project, _ = story
    decisions = small(project, "decide")
    # No single condition can be rebuilt from the others, pairs can: the audit must not refuse them all.
    assert sum(one["rule"] != BASE.name for one in decisions) >= 5
    assert all(one["similar"] for one in decisions)


def test_a_reference_that_cannot_be_scored_does_not_stop_the_others(story, tmp_path):
    project = Path(shutil.copytree(story[0], tmp_path / "project"))
    shutil.rmtree(project / "workspace" / "audit")
    broken = project / "library" / "shear" / "evaluation.parquet"
    table = pq.read_table(broken)
    pq.write_table(
        table.set_column(table.column_names.index("label"), "label", pa.array([999] * table.num_rows)), broken
    )
    report = audited(project)
    assert {one["item"] for one in report["failures"]} == {"shear"}
    names = {row["name"] for row in pq.read_table(project / "workspace" / "audit" / "results.parquet").to_pylist()}
    assert "clean" in names


def test_a_library_without_labels_is_audited_to_nothing(story, tmp_path):
    project = Path(shutil.copytree(story[0], tmp_path / "project"))
    shutil.rmtree(project / "workspace" / "audit")
    edit_project(project, lambda settings: [one.pop("evaluation") for one in settings["library"]])
    report = audited(project)
    assert (report["trials"], report["scored"], report["failures"]) == (0, 0, [])
    assert not report["verdict"]["transfers"]
