"""The story of a night, told on the digits example with real services."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pyarrow.parquet as pq
import pytest

from tasks.evaluation.intervals import paired_interval
from tests.conftest import Night, edit_project, keep_targets, tesserae, with_running_server

pytestmark = pytest.mark.services

METHODS = {
    "base",
    "nearest",
    "uniform",
    "similarity",
    "least_squares",
    "l1",
    "simplex",
    "random",
    "permuted",
    "ceiling",
    "chosen",
}


def mean_accuracy(report: dict, method: str) -> float:
    return sum(target["scores"][method]["accuracy"] for target in report["targets"]) / len(report["targets"])


def test_a_night_composes_scores_and_registers_every_target(night: Night):
    assert night.finished.code == 0, night.finished.err
    report = night.report
    assert report["failures"] == []
    assert report["prototypes_computed"] == 16
    assert report["compositions_solved"] == report["versions_registered"] == len(report["targets"]) == 10
    for target in report["targets"]:
        assert set(target["scores"]) == METHODS
        assert sum(target["support"].values()) == pytest.approx(1.0)
        assert target["duality_gap"] <= 1e-6
        assert (Path(target["adapter"]) / "adapter_model.safetensors").is_file()
        assert target["version"] == "1"


@pytest.mark.parametrize(
    "rival", ["base", "nearest", "uniform", "similarity", "simplex", "random", "permuted"], ids=str
)
def test_on_unseen_pairs_of_conditions_l1_is_better_on_average_than(night: Night, rival: str):
    assert mean_accuracy(night.report, "l1") > mean_accuracy(night.report, rival)


def test_a_version_is_champion_exactly_where_it_is_surely_not_worse_than_the_base(night: Night):
    for target in night.report["targets"]:
        (scores,) = (night.project / "workspace" / "evaluations" / target["target"]).glob("*/scores.json")
        values = json.loads(scores.read_text())["values"]
        ours, base = (np.array(values[method]["accuracy"]) for method in ("chosen", "base"))
        lead = paired_interval(ours, base, resamples=2000, level=0.95, seed=0)
        assert target["aliases"] == (["champion"] if lead.low >= 0 else ["challenger"])


def test_a_second_night_with_nothing_changed_does_no_work(slept: Path, night: Night):
    again = tesserae("nightly", slept, "--json")
    assert again.code == 0, again.err
    report = again.json
    assert (report["prototypes_computed"], report["compositions_solved"], report["versions_registered"]) == (0, 0, 0)
    first = {one["target"]: (one["support"], one["scores"], one["version"]) for one in night.report["targets"]}
    assert {one["target"]: (one["support"], one["scores"], one["version"]) for one in report["targets"]} == first


def drop_last_sample(project: Path, reference: str) -> None:
    path = project / "library" / reference / "samples.parquet"
    table = pq.read_table(path)
    pq.write_table(table.slice(0, table.num_rows - 1), path)


def neighbourhoods(project: Path) -> dict[str, set[str]]:
    rows = pq.read_table(project / "workspace" / "compositions").to_pylist()
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(row["target"], set()).add(row["reference"])
    return found


def test_one_changed_reference_recomputes_its_prototype_and_the_compositions_around_it(slept: Path):
    def change(settings: dict) -> None:
        # Three neighbours of six, so that there are targets on both sides of the question, which is not about scores.
        settings["projection"] = {"neighbours": 3}
        settings["registry"] = {"model_prefix": "near-"}
        settings["targets"] = [{"name": one["name"], "samples": one["samples"]} for one in settings["targets"]]

    edit_project(slept, change)
    assert tesserae("nightly", slept, "--json").code == 0
    around = {name for name, near in neighbourhoods(slept).items() if "shear" in near}
    assert 0 < len(around) < 10
    drop_last_sample(slept, "shear")
    report = tesserae("nightly", slept, "--json").json
    assert {name for name, near in neighbourhoods(slept).items() if "shear" in near} == around
    assert report["prototypes_computed"] == 1
    assert report["compositions_solved"] == report["versions_registered"] == len(around)
    assert {one["target"] for one in report["targets"] if one["version"] == "2"} == around


_PLAIN_CONSUMER = """
import json, sys
import mlflow, numpy, pyarrow.parquet, torch
from peft import PeftModel
from transformers import ViTForImageClassification

uri, model, base, evaluation = sys.argv[1:]
mlflow.set_tracking_uri(uri)
adapter = mlflow.artifacts.download_artifacts(f"models:/{model}@champion")
network = ViTForImageClassification.from_pretrained(base).eval()
adapted = PeftModel.from_pretrained(network, adapter).eval()
table = pyarrow.parquet.read_table(evaluation).to_pydict()
pixels = torch.tensor(numpy.array(table["pixel_values"], dtype="float32")).reshape(-1, 1, 16, 16)
with torch.inference_mode():
    answers = adapted(pixel_values=pixels).logits.argmax(dim=1)
assert not [name for name in sys.modules if name.split(".")[0] in ("flows", "tasks")]
print(json.dumps((answers == torch.tensor(table["label"])).double().mean().item()))
"""


def test_the_champion_serves_without_tesserae_and_gives_the_score_of_the_run(night: Night, tmp_path: Path):
    target = night.report["targets"][0]
    arguments = [
        f"sqlite:///{night.project}/workspace/mlflow.db",
        target["model"],
        night.project / "base",
        night.project / "targets" / target["target"] / "evaluation.parquet",
    ]
    done = subprocess.run(
        [sys.executable, "-c", _PLAIN_CONSUMER, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == pytest.approx(target["scores"]["chosen"]["accuracy"])


def test_the_adapter_is_rebuilt_bit_for_bit_from_its_recipe(night: Night, tmp_path: Path):
    from flows.work import blend_recipe
    from tasks.composition.recipe import read_recipe

    adapter = Path(night.report["targets"][0]["adapter"])
    blend_recipe(read_recipe(adapter), tmp_path / "again", threads=1)
    for name in ("adapter_model.safetensors", "adapter_config.json", "recipe.json"):
        assert (tmp_path / "again" / name).read_bytes() == (adapter / name).read_bytes()


def test_without_labels_coverage_decides_about_the_champion(slept: Path, night: Night):
    coverage = {one["target"]: one["coverage"] for one in night.report["targets"]}
    low, high = sorted(coverage, key=coverage.__getitem__)[:: len(coverage) - 1]

    def unlabelled(settings: dict) -> None:
        settings["registry"] = {"coverage_floor": (coverage[low] + coverage[high]) / 2, "model_prefix": "blind-"}
        settings["targets"] = [
            {"name": one["name"], "samples": one["samples"]}
            for one in settings["targets"]
            if one["name"] in (low, high)
        ]

    edit_project(slept, unlabelled)
    report = tesserae("nightly", slept, "--json").json
    assert report["prototypes_computed"] == 0
    assert {one["target"]: one["aliases"] for one in report["targets"]} == {low: ["challenger"], high: ["champion"]}
    assert all(one["scores"] == {} for one in report["targets"])


def test_what_a_night_could_not_explain_the_next_one_explains(slept: Path):
    keep_targets(slept, 2)
    edit_project(slept, lambda settings: settings.update(registry={"model_prefix": "unexplained-"}))
    command = [sys.executable, "-m", "tests.flows.unexplained_night", str(slept)]
    done = subprocess.run(command, capture_output=True, text=True, env=with_running_server(), check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    failed = json.loads(done.stdout.splitlines()[-1])["failures"]
    assert [one["stage"] for one in failed] == ["register", "register"]
    report = tesserae("nightly", slept, "--json").json
    assert report["failures"] == []
    assert {one["version"] for one in report["targets"]} == {"1"}
    client = mlflow.MlflowClient(f"sqlite:///{slept}/workspace/mlflow.db")
    (experiment,) = [one for one in client.search_experiments() if one.name == "project"]
    children = f"tags.`mlflow.parentRunId` = '{report['mlflow_run']}'"
    runs = client.search_runs([experiment.experiment_id], filter_string=children)
    assert len(runs) == 2
    pictures = {"weights.png", "methods_accuracy.png", "samples.png"}
    for run in runs:
        kept = {item.path for item in client.list_artifacts(run.info.run_id)}
        assert kept == {"adapter", "recipe.json", "explanation.html", "explanation.json", *pictures}


def test_explain_gives_the_night_s_entry_with_the_baselines(night: Night):
    entry = night.report["targets"][0]
    explained = tesserae("explain", night.project, entry["target"], "--json").json
    assert {key: explained[key] for key in entry} == entry
    weights = {near["reference"]: near["weight"] for near in explained["neighbourhood"]}
    assert {name: weight for name, weight in weights.items() if weight} == entry["support"]
    assert explained["baselines"]["nearest"] == {explained["neighbourhood"][0]["reference"]: 1.0}
    assert explained["baselines"]["base"] == {}


def test_composing_one_target_leaves_the_others_alone(slept: Path):
    shutil.rmtree(slept / "workspace" / "compositions")
    report = tesserae("compose", slept, "--target", "ramp_scale", "--json").json
    assert [one["target"] for one in report["targets"]] == ["ramp_scale"]
    assert report["compositions_solved"] == 1
    assert report["versions_registered"] == 0


def test_the_champion_is_scored_again_beside_its_challenger_with_the_same_result(slept: Path, night: Night):
    # Another seed of the bootstrap asks for a new evaluation of the same adapters.
    keep_targets(slept, 3)
    edit_project(slept, lambda settings: settings.update(evaluation={"seed": 1}))
    report = tesserae("nightly", slept, "--json").json
    assert (report["compositions_solved"], report["versions_registered"]) == (0, 0)
    kept = [one for one in night.report["targets"] if one["target"] in {one["target"] for one in report["targets"]}]
    seen = {}
    for path in (slept / "workspace" / "evaluations").glob("*/*/scores.json"):
        stored = json.loads(path.read_text())
        if "champion" in stored["scores"]:
            seen[stored["target"]] = {"accuracy": stored["scores"]["champion"]["accuracy"]["value"]}
    assert seen
    assert seen == {one["target"]: one["scores"]["chosen"] for one in kept if one["aliases"] == ["champion"]}


def test_a_truncated_night_serves_adapters_of_that_rank_and_scores_them_as_they_are_served(slept: Path):
    edit_project(slept, lambda settings: settings.update(blending={"rank": 2}))
    report = tesserae("compose", slept, "--target", "ramp_scale", "--json").json
    (target,) = report["targets"]
    config = json.loads((Path(target["adapter"]) / "adapter_config.json").read_text())
    assert config["r"] == 2
    recipe = json.loads((Path(target["adapter"]) / "recipe.json").read_text())
    assert 0 < recipe["blend"]["lost_energy"] < 1
    # The l1 row is the exact blend of the same weights: truncation shows as the difference.
    assert target["scores"]["chosen"] != target["scores"]["l1"]
