"""How every example project comes to be: in worker processes, whole or not at all."""

from pathlib import Path

import pytest
import yaml

from tasks.examples.building import Member, Plan, build_project
from tasks.files import InvalidInput, digest_tree


def base_file(project: Path, seed: int) -> None:
    (project / "base").mkdir()
    (project / "base" / "seed").write_text(str(seed))


def member_files(project: Path, member: Member, seed: int) -> None:
    assert (project / "base" / "seed").read_text() == str(seed)
    folder = member.within(project)
    (folder / "adapter").mkdir(parents=True)
    (folder / "adapter" / "seed").write_text(str(member.seed))
    (folder / "samples.parquet").write_text(member.name)


def broken(project: Path, member: Member, seed: int) -> None:
    raise RuntimeError(f"{member.name} cannot be made")


PLAN = Plan(base_file, member_files, references=("a", "b"), targets=("c",), settings={"family": "encoder"})


def build(directory: Path, plan: Plan = PLAN, seed: int = 0) -> list[tuple[str, int, int]]:
    told: list[tuple[str, int, int]] = []
    build_project(directory, plan, seed=seed, progress=lambda *line: told.append(line))
    return told


def test_a_project_names_what_is_there_and_tells_how_far_it_is(tmp_path: Path):
    told = build(tmp_path / "project")
    settings = yaml.safe_load((tmp_path / "project" / "project.yaml").read_text())
    assert settings == {
        "base_model": "base",
        "library": [
            {"name": name, "adapter": f"library/{name}/adapter", "samples": f"library/{name}/samples.parquet"}
            for name in ("a", "b")
        ],
        "targets": [{"name": "c", "adapter": "targets/c/adapter", "samples": "targets/c/samples.parquet"}],
        "family": "encoder",
    }
    assert told == [("base model", 1, 1), ("adapters", 1, 3), ("adapters", 2, 3), ("adapters", 3, 3)]


def test_one_seed_gives_one_project_and_every_member_a_seed_of_its_own(tmp_path: Path):
    for directory, seed in (("one", 0), ("two", 0), ("three", 1)):
        build(tmp_path / directory, seed=seed)
    assert digest_tree(tmp_path / "one") == digest_tree(tmp_path / "two")
    assert digest_tree(tmp_path / "one") != digest_tree(tmp_path / "three")
    seeds = {path.read_text() for path in (tmp_path / "one").rglob("adapter/seed")}
    assert len(seeds) == 3


def test_an_error_leaves_nothing_behind(tmp_path: Path):
    plan = Plan(base_file, broken, references=("a",), targets=(), settings={})
    with pytest.raises(RuntimeError, match="a cannot be made"):
        build(tmp_path / "project", plan)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_directory_is_filled_and_a_full_one_is_left_alone(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    build(tmp_path / "empty")
    assert (tmp_path / "empty" / "project.yaml").is_file()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep")
    with pytest.raises(InvalidInput, match="not empty; name a new directory"):
        build(tmp_path / "full")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]
