"""What a user sees when the input is wrong: everything at once, by name, with the remedy, and nothing lost."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.settings import load_project
from tests.conftest import edit_project, keep_targets, tesserae


def write_samples(path: Path, rows: list[list[float]]) -> None:
    pq.write_table(pa.table({"pixel_values": pa.array(rows, pa.list_(pa.float32()))}), path)


def lose_the_adapter(project: Path) -> None:
    shutil.rmtree(project / "library/shear/adapter")


def corrupt_the_adapter(project: Path) -> None:
    path = project / "library/stripe/adapter/adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def claim_another_base(project: Path) -> None:
    path = project / "library/scale/adapter/adapter_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "base_model_name_or_path": "somebody/other-model"}))


def put_nan_into_the_samples(project: Path) -> None:
    path = project / "library/ramp/samples.parquet"
    rows = pq.read_table(path).column("pixel_values").to_pylist()
    rows[7][3] = float("nan")
    write_samples(path, rows)


def empty_the_samples(project: Path) -> None:
    write_samples(project / "targets/ramp_scale/samples.parquet", [])


def name_one_twice(project: Path) -> None:
    def change(settings: dict) -> None:
        settings["targets"][1]["name"] = settings["targets"][2]["name"]

    edit_project(project, change)


FAULTS = [
    lose_the_adapter,
    corrupt_the_adapter,
    claim_another_base,
    put_nan_into_the_samples,
    empty_the_samples,
    name_one_twice,
]


def problem_of(problems: list[dict], item: str) -> dict:
    found = [problem for problem in problems if problem["item"] == item]
    assert found, problems
    return found[0]


def test_check_lists_every_fault_at_once_with_name_cause_and_remedy(fresh: Path):
    for fault in FAULTS:
        fault(fresh)
    checked = tesserae("check", fresh, "--json")
    assert checked.code == 2
    assert checked.json["ok"] is False
    problems = checked.json["problems"]
    assert all(problem["remedy"] for problem in problems)
    assert "no adapter directory" in problem_of(problems, "shear")["problem"]
    assert "bytes and its header describes" in problem_of(problems, "stripe")["problem"]
    other = problem_of(problems, "scale")
    assert "'somebody/other-model'" in other["problem"]
    assert "aliases" in other["remedy"]
    assert "1 of 200 samples hold NaN" in problem_of(problems, "ramp")["problem"]
    assert "empty" in problem_of(problems, "target ramp_scale")["problem"]
    assert "used 2 times" in problem_of(problems, "target rotation_scale")["problem"]
    assert len(problems) == 7  # the doubled name is reported for both of its bearers


def test_a_sound_project_passes_the_check_and_the_check_leaves_no_trace(fresh: Path):
    before = sorted(fresh.rglob("*"))
    checked = tesserae("check", fresh, "--json")
    assert (checked.code, checked.json) == (0, {"ok": True, "problems": []})
    assert sorted(fresh.rglob("*")) == before


def test_an_unknown_key_is_an_error_that_names_the_key_and_the_known_ones(fresh: Path):
    edit_project(fresh, lambda settings: settings.update(penalty=0.1, projection={"neighbors": 3}))
    for command in ("check", "nightly"):
        refused = tesserae(command, fresh, "--json")
        assert refused.code == 2
        problems = [problem["problem"] for problem in refused.json["problems"]]
        assert problems == ["unknown key `projection.neighbors`", "unknown key `penalty`"]
    assert not (fresh / "workspace").exists()


def test_a_broken_yaml_is_reported_with_its_line(fresh: Path):
    (fresh / "project.yaml").write_text("base_model: base\nfamily: [encoder\n", encoding="utf-8")
    refused = tesserae("check", fresh)
    assert refused.code == 2
    assert "line 3" in refused.err
    assert "Traceback" not in refused.err


def test_a_missing_project_says_how_to_make_one(tmp_path: Path):
    refused = tesserae("nightly", tmp_path / "nothing")
    assert refused.code == 2
    assert "tesserae example DIR" in refused.err


@pytest.mark.services
def test_a_night_finishes_what_is_healthy_and_lists_the_rest(slept: Path):
    keep_targets(slept, 6)
    kept = {one["name"] for one in load_project(slept).settings.targets}
    corrupt_the_adapter(slept)
    empty_the_samples(slept)
    finished = tesserae("nightly", slept, "--json")
    assert finished.code == 1, finished.err
    report = finished.json
    assert {failure["item"] for failure in report["failures"]} == {"stripe", "target ramp_scale"}
    assert all(failure["error"] and failure["remedy"] for failure in report["failures"])
    assert {one["target"] for one in report["targets"]} == kept - {"ramp_scale"}
    assert all("stripe" not in one["support"] for one in report["targets"])
    assert report["compositions_solved"] == 5


@pytest.mark.services
def test_two_runs_on_one_workspace_do_not_mix(slept: Path):
    import fcntl

    with (slept / "workspace/lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused = tesserae("nightly", slept)
    assert refused.code == 3
    assert "another run" in refused.err
    assert str(slept) in refused.err


@pytest.mark.services
def test_a_dead_prefect_server_is_named_with_the_remedy(fresh: Path, monkeypatch: pytest.MonkeyPatch):
    from typer.testing import CliRunner

    from flows.cli import app

    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    refused = CliRunner().invoke(app, ["nightly", str(fresh)])
    assert refused.exit_code == 2
    assert "no Prefect server answers" in refused.output


def test_nan_is_found_wherever_it_hides_in_a_large_sample_file(tmp_path: Path):
    from tasks.library.sample_checks import examine_samples

    rows = np.zeros((5000, 4), np.float32)
    rows[4321, 2] = np.nan
    write_samples(tmp_path / "samples.parquet", rows.tolist())
    found = examine_samples(str(tmp_path / "samples.parquet"), columns=("pixel_values",), least_rows=2, pixel_count=4)
    assert [problem for problem, _ in found] == ["1 of 5000 samples hold NaN, infinity or nothing"]
