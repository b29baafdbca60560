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


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[str, int, int]]]:
    """A project built into an empty directory, and what was told meanwhile."""
    project = tmp_path_factory.mktemp("built")
    return project, build(project)


def test_a_project_in_an_empty_directory_names_what_is_there_and_tells_how_far_it_is(built):
    project, told = built
    settings = yaml.safe_load((project / "project.yaml").read_text())
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


def test_one_seed_gives_one_project_and_every_member_a_seed_of_its_own(built, tmp_path: Path):
    one = built[0]
    for directory, seed in (("same", 0), ("other", 1)):
        build(tmp_path / directory, seed=seed)
    assert digest_tree(one) == digest_tree(tmp_path / "same")
    assert digest_tree(one) != digest_tree(tmp_path / "other")
    seeds = {path.read_text() for path in one.rglob("adapter/seed")}
    assert len(seeds) == 3


def test_an_error_leaves_nothing_behind(tmp_path: Path):
    plan = Plan(base_file, broken, references=("a",), targets=(), settings={})
    with pytest.raises(RuntimeError, match="a cannot be made"):
        build(tmp_path / "project", plan)
    assert list(tmp_path.iterdir()) == []


def test_a_full_directory_is_left_alone(tmp_path: Path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep")
    with pytest.raises(InvalidInput, match="not empty; name a new directory"):
        build(tmp_path / "full")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]
