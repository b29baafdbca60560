"""Training what a library lacks, and going on from there."""

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import edit_project, tesserae

pytestmark = pytest.mark.services


def test_a_reference_without_an_adapter_gets_one_that_the_night_accepts(slept: Path):
    shutil.rmtree(slept / "library/shear/adapter")
    # The labelled rows of the example stand in its evaluation file.
    shutil.copy(slept / "library/shear/evaluation.parquet", slept / "library/shear/samples.parquet")
    quick = {"steps": 20, "validate_every": 10, "rank": 4, "alpha": 4.0}
    edit_project(slept, lambda settings: settings.update(training=quick))
    trained = tesserae("train", slept, "--json")
    assert trained.code == 0, trained.err
    assert trained.json["adapters_trained"] == 1
    config = json.loads((slept / "library/shear/adapter/adapter_config.json").read_text())
    assert (config["r"], config["base_model_name_or_path"]) == (4, "base")
    assert tesserae("check", slept).code == 0
    assert tesserae("train", slept, "--json").json["adapters_trained"] == 0


def test_a_reference_whose_samples_have_no_labels_fails_by_name_and_the_others_are_trained(slept: Path):
    for name in ("shear", "scale"):
        shutil.rmtree(slept / f"library/{name}/adapter")
    shutil.copy(slept / "library/scale/evaluation.parquet", slept / "library/scale/samples.parquet")
    edit_project(slept, lambda settings: settings.update(training={"steps": 5, "validate_every": 5}))
    finished = tesserae("train", slept, "--json")
    assert finished.code == 1
    assert finished.json["adapters_trained"] == 1
    (failure,) = finished.json["failures"]
    assert failure["item"] == "shear"
    assert "label" in failure["error"]
