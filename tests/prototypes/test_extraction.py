"""A shard on a worker: what it leaves, what fails alone, and what is never computed twice."""

import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tasks.prototypes.extraction import Job, extract_shard, prototype_digest
from tasks.prototypes.settings import ExtractionSettings, Pooling
from tasks.prototypes.store import PrototypeStore
from tests.library.projects import random_rows, save_base, save_samples, tiny_vit
from tests.prototypes.recipes import settings_for


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project")
    save_base(root)
    return root


@pytest.fixture(scope="module")
def settings(root: Path) -> ExtractionSettings:
    return settings_for(root / "base")


def job(root: Path, name: str, *, seed: int, count: int = 7) -> Job:
    return Job(name, f"digest-{name}", str(save_samples(root / f"{name}.parquet", random_rows(count, seed))))


def test_a_shard_leaves_one_part_with_the_mean_of_the_token_states(
    root: Path, settings: ExtractionSettings, tmp_path: Path
) -> None:
    report = extract_shard([job(root, "a", seed=1)], settings, tmp_path)
    assert (report.computed, report.failures) == (1, ())
    found = PrototypeStore(tmp_path).read()["digest-a"]
    pixels = torch.tensor(random_rows(7, 1)).reshape(7, 1, 8, 8)
    with torch.inference_mode():
        states = tiny_vit().vit(pixels).last_hidden_state.double()
    embeddings = states.mean(dim=1).numpy()
    np.testing.assert_allclose(found.prototype, embeddings.mean(axis=0), rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.half_a, embeddings[::2].mean(axis=0), rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.half_b, embeddings[1::2].mean(axis=0), rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.within_std, embeddings.std(axis=0, ddof=1), rtol=0, atol=1e-6)
    error = np.sqrt(embeddings.var(axis=0, ddof=1).sum() / 7)
    assert found.standard_error == pytest.approx(error, rel=1e-5)
    assert (found.name, found.count, found.layer, found.pooling) == ("a", 7, "-1", "mean")


def test_the_map_is_the_flattened_mean_of_every_token(root: Path, tmp_path: Path) -> None:
    extract_shard([job(root, "a", seed=1)], settings_for(root / "base", pooling=Pooling.MAP), tmp_path)
    pixels = torch.tensor(random_rows(7, 1)).reshape(7, 1, 8, 8)
    with torch.inference_mode():
        states = tiny_vit().vit(pixels).last_hidden_state.double()
    expected = states.mean(dim=0).flatten()  # 4 patches and the class token, 8 coordinates each
    found = PrototypeStore(tmp_path).read()["digest-a"]
    assert found.prototype.shape == (5 * 8,)
    np.testing.assert_allclose(found.prototype, expected, rtol=0, atol=1e-6)


def test_a_bad_reference_fails_alone(root: Path, settings: ExtractionSettings, tmp_path: Path) -> None:
    short = Job("short", "digest-short", str(save_samples(root / "short.parquet", [[1.0] * 5] * 3)))
    gone = Job("gone", "digest-gone", str(root / "gone.parquet"))
    report = extract_shard([short, job(root, "a", seed=1), gone], settings, tmp_path)
    assert report.computed == 1
    assert [(one.item, one.stage) for one in report.failures] == [("short", "prototypes"), ("gone", "prototypes")]
    assert "pixel_values must have 64 values a row, the model's [1, 8, 8]" in report.failures[0].error
    assert "there is no such file" in report.failures[1].error
    assert set(PrototypeStore(tmp_path).read()) == {"digest-a"}


def test_samples_that_overflow_the_model_fail_instead_of_leaving_nan(
    root: Path, settings: ExtractionSettings, tmp_path: Path
) -> None:
    rows = [[3e38] * 64, *random_rows(3, 0)]
    huge = Job("huge", "digest-huge", str(save_samples(root / "huge.parquet", rows)))
    report = extract_shard([huge], settings, tmp_path)
    assert (report.part, report.computed) == (None, 0)
    assert "its embeddings are not finite in float32" in report.failures[0].error


def test_a_finished_shard_is_not_computed_again_and_does_not_import_torch(
    root: Path, settings: ExtractionSettings, tmp_path: Path
) -> None:
    jobs = [job(root, "a", seed=1), job(root, "b", seed=2)]
    first = extract_shard(jobs, settings, tmp_path)
    code = (
        "import pickle, sys; from tasks.prototypes.extraction import extract_shard\n"
        "report = extract_shard(*pickle.load(sys.stdin.buffer))\n"
        "print(report.part, report.computed, report.failures, 'torch' in sys.modules)"
    )
    content = pickle.dumps((jobs, settings, tmp_path))
    answer = subprocess.run(
        [sys.executable, "-c", code], input=content, capture_output=True, env=os.environ, check=True
    )
    assert answer.stdout.decode().strip() == f"{first.part} 0 () False"


def test_one_digest_under_two_names_is_computed_once(root: Path, settings: ExtractionSettings, tmp_path: Path) -> None:
    one = job(root, "a", seed=1)
    assert extract_shard([one, replace(one, name="twin")], settings, tmp_path).computed == 1


def test_the_digest_follows_what_determines_the_prototype_and_nothing_else(settings: ExtractionSettings) -> None:
    recipe = settings.recipe
    digest = prototype_digest("samples", recipe=recipe)
    assert digest == prototype_digest("samples", recipe=replace(recipe, base=replace(recipe.base, path=Path("/moved"))))
    others = [
        prototype_digest("other", recipe=recipe),
        prototype_digest("samples", recipe=replace(recipe, pooling=Pooling.MAP)),
        prototype_digest("samples", recipe=replace(recipe, layers=(-2,))),
        prototype_digest("samples", recipe=replace(recipe, dtype="bfloat16")),
        prototype_digest("samples", recipe=replace(recipe, base=replace(recipe.base, digest="x"))),
    ]
    assert len({digest, *others}) == 6
