"""The project file: every default in one place, and the manual tells the truth about them."""

import re
from pathlib import Path

import pytest
import yaml

from flows.settings import ProjectSettings, load_project
from tasks.files import InvalidInput

REQUIRED = {"base_model": "base", "family": "encoder", "library": [], "targets": []}
MANUAL = Path(__file__).parents[2] / "docs" / "project.md"


def written(tmp_path: Path, **settings: object) -> Path:
    (tmp_path / "project.yaml").write_text(yaml.safe_dump({**REQUIRED, **settings}), encoding="utf-8")
    return tmp_path


def test_four_keys_are_enough(tmp_path: Path):
    assert load_project(written(tmp_path)).settings == ProjectSettings(**REQUIRED)


def test_a_project_is_named_by_its_directory_or_by_its_file(tmp_path: Path):
    project = written(tmp_path)
    assert load_project(project) == load_project(project / "project.yaml")


def test_the_manual_shows_every_key_with_its_default():
    block = re.search(r"```yaml\n(.*?)```", MANUAL.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    shown = yaml.safe_load(block[1])
    defaults = ProjectSettings(**REQUIRED).model_dump(mode="json")
    assert set(shown) == set(defaults)
    assert {key: shown[key] for key in shown if key not in REQUIRED} == {
        key: defaults[key] for key in defaults if key not in REQUIRED
    }


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"family": "enkoder"}, "`family` is 'enkoder'"),
        ({"projection": {"penalty": -1}}, "`projection.penalty` is -1"),
        ({"registry": {"coverage_floor": 2}}, "`registry.coverage_floor` is 2"),
        ({"projection": {"exact": "library", "variant": "refit"}}, "refit knows neighbourhoods only"),
        ({"audit": {"preparations": ["whitend"]}}, "`audit.preparations.0` is 'whitend'"),
        ({"projection": {"recalibrate_beyond": 1.0}}, "`projection.recalibrate_beyond` is 1.0"),
    ],
)
def test_a_value_outside_its_limits_is_named_with_the_value(tmp_path: Path, change: dict, named: str):
    with pytest.raises(InvalidInput, match=re.escape(named)):
        load_project(written(tmp_path, **change))


def test_yaml_that_would_build_objects_is_refused(tmp_path: Path):
    (tmp_path / "project.yaml").write_text("base_model: !!python/object/apply:os.getcwd []\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match="not YAML"):
        load_project(tmp_path)
