"""The registry against a real SQLite store."""

from pathlib import Path

import pytest

from tasks.registry import store
from tasks.registry.store import CHALLENGER, CHAMPION, Registry


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    root = tmp_path_factory.mktemp("registry")
    return Registry(f"sqlite:///{root / 'mlflow.db'}", experiment="tests", artifacts=root / "artifacts")


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    directory = tmp_path / "adapter"
    directory.mkdir()
    (directory / "adapter_config.json").write_text("{}")
    return directory


def version_of(registry: Registry, adapter: Path, model: str, digest: str):
    run = registry.start_run(model, tags={})
    registry.log_directory(run, adapter, under="adapter")
    registry.end_run(run, succeeded=True)
    return registry.register(model, run_id=run, tags={"digest": digest})


def test_a_version_is_found_by_its_digest_with_its_aliases(registry: Registry, adapter: Path):
    made = version_of(registry, adapter, "one", "d1")
    registry.move_alias(made, CHAMPION)
    found = registry.by_digest("one", "d1")
    assert found is not None
    assert (found.version, found.aliases) == (made.version, (CHAMPION,))
    assert registry.by_digest("one", "other") is None
    assert registry.by_digest("unknown", "d1") is None


def test_many_versions_are_found_at_once_each_by_its_own_digest(
    registry: Registry, adapter: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(store, "_MODELS_PER_SEARCH", 2)  # questions of two names, where there are five models
    wanted = {}
    for number in range(5):
        model = f"several{number}"
        old, new = (version_of(registry, adapter, model, digest) for digest in (f"old{number}", f"new{number}"))
        registry.move_alias(new if number % 2 else old, CHAMPION)
        wanted[model] = new
    found = registry.by_digests({model: f"new{model[-1]}" for model in wanted} | {"unknown": "d", "one": "other"})
    assert {model: version.version for model, version in found.items()} == {
        model: version.version for model, version in wanted.items()
    }
    for model, version in found.items():
        assert version == registry.by_digest(model, f"new{model[-1]}")
        assert version.aliases == ((CHAMPION,) if int(model[-1]) % 2 else ())
    assert registry.by_digests({}) == {}


def test_an_alias_moves_from_version_to_version_and_can_go(registry: Registry, adapter: Path):
    first, second = (version_of(registry, adapter, "two", digest) for digest in ("d1", "d2"))
    registry.move_alias(first, CHALLENGER)
    registry.move_alias(second, CHALLENGER)
    found = registry.by_alias("two", CHALLENGER)
    assert found is not None
    assert found.version == second.version
    registry.drop_alias("two", CHALLENGER)
    assert registry.by_alias("two", CHALLENGER) is None
    assert registry.by_alias("unknown", CHAMPION) is None


def test_the_adapter_comes_back_from_the_registry(registry: Registry, adapter: Path, tmp_path: Path):
    made = version_of(registry, adapter, "three", "d")
    copy = registry.download(made, tmp_path / "download")
    assert (copy / "adapter_config.json").read_text() == "{}"


def test_more_values_than_one_call_takes_are_all_logged(registry: Registry):
    run = registry.start_run("many", tags={})
    metrics = {f"m{index}": float(index) for index in range(1500)}
    params = {f"p{index}": str(index) for index in range(150)}
    registry.log(run, metrics=metrics, params=params, now_ms=1)
    data = registry._client.get_run(run).data
    assert (data.metrics, data.params) == (metrics, params)


def test_a_child_run_knows_its_parent(registry: Registry):
    parent = registry.start_run("night", tags={})
    child = registry.start_run("target", tags={"target": "t"}, parent=parent)
    assert registry._client.get_run(child).data.tags["mlflow.parentRunId"] == parent


def test_a_second_opening_finds_the_same_experiment(tmp_path: Path):
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    first, second = (Registry(uri, experiment="e", artifacts=tmp_path / "artifacts") for _ in range(2))
    assert first._experiment == second._experiment
