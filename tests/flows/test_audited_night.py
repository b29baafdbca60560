"""The story of a night that follows its own audit: half of the targets have labels, half have none."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from tasks.evaluation.intervals import paired_interval
from tasks.projection.moments import moments_of
from tasks.projection.reference import solve_reference
from tasks.projection.variants import Variant
from tests.conftest import Finished, edit_project, tesserae

pytestmark = pytest.mark.services

SMALL = {"nightly": True, "halves": 2, "pools": 1, "transfers": 2, "penalties": [0.1], "preparations": ["raw"]}


class Story:
    """The project after such a night, its report, and which targets had labels."""

    def __init__(self, project: Path, finished: Finished, blind: set[str]) -> None:
        self.project, self.finished, self.blind = project, finished, blind
        self.targets: list[dict[str, Any]] = finished.json["targets"]

    def version(self, target: dict[str, Any]) -> Any:
        client = mlflow.MlflowClient(f"sqlite:///{self.project / 'workspace' / 'mlflow.db'}")
        return client.get_model_version(target["model"], target["version"])

    def reason(self, target: dict[str, Any]) -> str:
        return str(self.version(target).tags["promotion"])

    def values(self, target: dict[str, Any]) -> dict[str, Any]:
        digest = self.version(target).tags["evaluation"]
        path = self.project / "workspace" / "evaluations" / target["target"] / digest / "scores.json"
        return dict(json.loads(path.read_text())["values"])

    def explained(self, target: str) -> dict[str, Any]:
        return tesserae("explain", self.project, target, "--json").json


@pytest.fixture(scope="module")
def story(night, tmp_path_factory) -> Story:
    project = Path(shutil.copytree(night.project, tmp_path_factory.mktemp("audited") / "project"))
    blind: set[str] = set()

    def change(settings: dict[str, Any]) -> None:
        settings["audit"] = SMALL
        settings["registry"] = {"model_prefix": "audited-"}
        for one in settings["targets"][::2]:
            one.pop("evaluation")
            one.pop("ceiling", None)
            blind.add(one["name"])

    edit_project(project, change)
    return Story(project, tesserae("nightly", project, "--json"), blind)


def test_every_target_is_composed_by_the_rule_that_the_audit_trusts(story: Story):
    assert story.finished.code == 0, story.finished.err
    assert {one["expected"]["rule"] for one in story.targets} != {"base"}
    for one in story.targets:
        trusted = one["expected"]["rule"]
        assert one["rule"] == ("l1 0.05" if trusted == "base" else trusted)


def test_without_labels_exactly_the_targets_with_a_trusted_rule_are_served(story: Story):
    blind = [one for one in story.targets if one["target"] in story.blind]
    assert blind
    for one in blind:
        assert one["aliases"] == (["challenger"] if one["expected"]["rule"] == "base" else ["champion"])
        assert story.reason(one) == one["expected"]["reason"]


def test_with_labels_the_paired_interval_against_the_base_decides_whatever_the_audit_expects(story: Story):
    seeing = [one for one in story.targets if one["target"] not in story.blind]
    assert seeing
    for one in seeing:
        values = story.values(one)
        lead = paired_interval(
            np.array(values["chosen"]["accuracy"]),
            np.array(values["base"]["accuracy"]),
            resamples=2000,
            level=0.95,
            seed=0,
        )
        assert one["aliases"] == (["champion"] if lead.low >= 0 else ["challenger"])
        assert f"interval from {lead.low:+.4f}" in story.reason(one)


def test_a_second_night_audits_solves_and_registers_nothing(story: Story, tmp_path: Path):
    project = Path(shutil.copytree(story.project, tmp_path / "project"))
    again = tesserae("nightly", project, "--json").json
    assert (again["compositions_solved"], again["versions_registered"]) == (0, 0)
    assert [one["aliases"] for one in again["targets"]] == [one["aliases"] for one in story.targets]


def test_a_fixed_rule_of_the_project_file_takes_the_place_of_the_audit(story: Story, tmp_path: Path):
    project = Path(shutil.copytree(story.project, tmp_path / "project"))

    def change(settings: dict[str, Any]) -> None:
        settings["projection"] = {**settings.get("projection", {}), "rule": "similarity"}

    edit_project(project, change)
    name = sorted(story.blind)[0]
    (one,) = tesserae("compose", project, "--target", name, "--json").json["targets"]
    assert (one["rule"], one["expected"]) == ("similarity 0.25", None)
    assert min(one["support"].values()) > 0
    assert sum(one["support"].values()) == pytest.approx(1)


def _prototypes(project: Path) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in pq.read_table(project / "workspace" / "prototypes").to_pylist()}


def _vectors(known: dict[str, dict[str, Any]], names: list[str]) -> np.ndarray:
    return np.array([known[name]["prototype"] for name in names], dtype=np.float64)


def test_every_number_of_an_explanation_follows_from_recipe_prototypes_and_audit(story: Story):
    chosen = next(one for one in story.targets if one["rule"].startswith(("l1", "simplex")))
    told, known = story.explained(chosen["target"]), _prototypes(story.project)
    recipe = json.loads((Path(chosen["adapter"]) / "recipe.json").read_text())
    weights = {one["reference"]: one["weight"] for one in recipe["ingredients"]}
    names = [near["reference"] for near in told["neighbourhood"]]
    atoms, target = _vectors(known, names), _vectors(known, [chosen["target"]])[0]
    values = np.array([weights[name] for name in names])

    assert {near["reference"]: near["weight"] for near in told["neighbourhood"]} == weights
    distances = [near["distance"] for near in told["neighbourhood"]]
    np.testing.assert_allclose(distances, np.linalg.norm(atoms - target, axis=1), rtol=1e-5)
    residual, centre = np.linalg.norm(target - values @ atoms), atoms.mean(axis=0)
    assert told["residual"] == pytest.approx(residual, rel=1e-5)
    assert told["coverage"] == pytest.approx(1 - residual / np.linalg.norm(target - centre), rel=1e-4)

    spread = float(np.square(atoms - centre).sum(axis=1).mean())
    how = recipe["settings"]["projection"]

    def solved(vector: np.ndarray, penalty: float) -> np.ndarray:
        variant = Variant(how["variant"])
        moments = moments_of(atoms[None], vector[None], variant=variant)
        return solve_reference(moments, penalty=penalty * spread, variant=variant, precision=1e-10)

    for half, key in zip(told["halves"], ("half_a", "half_b"), strict=True):
        own = solved(np.array(known[chosen["target"]][key], dtype=np.float64), how["penalty"])
        np.testing.assert_allclose([half.get(name, 0.0) for name in names], own, atol=1e-4)
    for step in told["path"]:
        own = solved(target, step["penalty"])
        np.testing.assert_allclose([step["weights"].get(name, 0.0) for name in names], own, atol=1e-4)
    _assert_shares(told, recipe)
    _assert_audited(told, story.project)


def _assert_shares(told: dict[str, Any], recipe: dict[str, Any]) -> None:
    """A reference's share of a module is |w| ||s B A|| over the sum of these."""
    module = told["modules"][0]["module"]
    norms = {}
    for one in recipe["ingredients"]:
        directory = Path(one["adapter"])
        config = json.loads((directory / "adapter_config.json").read_text())
        factors = load_file(directory / "adapter_model.safetensors")
        a, b = (factors[f"base_model.model.{module}.lora_{side}.weight"] for side in "AB")
        scale = config["lora_alpha"] / config["r"]
        norms[one["reference"]] = abs(one["weight"]) * scale * np.linalg.norm(b @ a)
    for name, share in told["modules"][0]["shares"].items():
        assert share == pytest.approx(norms[name] / sum(norms.values()), rel=1e-4)


def _assert_audited(told: dict[str, Any], project: Path) -> None:
    """What the page calls the record on similar tasks is what the audit's Parquet holds."""
    choice = told["choice"]
    shown = choice["rule"] if choice["rule"] != "base" else None
    rows = pq.read_table(project / "workspace" / "audit" / "results.parquet").to_pylist()
    labels = {
        (row["name"] if row["partner"] is None else f"{row['name']}+{row['partner']} ({row['kind']})"): row
        for row in rows
        if row["rule"] == shown
    }
    assert choice["similar"]
    for one in choice["similar"]:
        assert labels[one["trial"]]["gain"] == one["gain"]
    assert choice["rules"][choice["rule"]] == choice["expected"]


def _numbers(value: Any) -> set[float]:
    if isinstance(value, dict):
        return set().union(*map(_numbers, value.values())) if value else set()
    if isinstance(value, list):
        return set().union(*map(_numbers, value)) if value else set()
    return {float(value)} if isinstance(value, int | float) and not isinstance(value, bool) else set()


def test_the_page_tells_no_number_that_the_explanation_does_not_hold(story: Story, tmp_path: Path):
    name = story.targets[0]["target"]
    page = tmp_path / "page.html"
    told = tesserae("explain", story.project, name, "--html", page, "--json").json
    shown = {float(value) for value in re.findall(r'<data value="([^"]+)"', page.read_text(encoding="utf-8"))}
    assert len(shown) > 20
    assert shown <= _numbers(told) | {0.0}


def test_the_page_is_an_artifact_of_the_targets_run(story: Story):
    client = mlflow.MlflowClient(f"sqlite:///{story.project / 'workspace' / 'mlflow.db'}")
    one = story.targets[0]
    run_id = client.get_model_version(one["model"], one["version"]).run_id
    assert {"explanation.html", "explanation.json"} <= {item.path for item in client.list_artifacts(run_id)}


def test_the_nights_audit_is_a_run_of_its_own_with_a_picture_of_every_rule(story: Story):
    client = mlflow.MlflowClient(f"sqlite:///{story.project / 'workspace' / 'mlflow.db'}")
    (experiment,) = [one for one in client.search_experiments() if one.name == "project"]
    (run,) = client.search_runs([experiment.experiment_id], filter_string="tags.stage = 'audit'")
    assert {"rules.png", "audit.json"} <= {item.path for item in client.list_artifacts(run.info.run_id)}
    assert {"gain/left_out/simplex", "gain/pools/l1 0.1"} <= set(run.data.metrics)
