"""Everything wrong is found at once, each with name, cause and remedy, and the sound rest goes on."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.library import validation
from tasks.library.base_model import BaseModel
from tasks.library.entries import Entry
from tasks.library.families import Family
from tasks.library.memory import Memory, load_memory, save_memory
from tasks.library.validation import problems_of
from tests.library.projects import look, random_rows, save_adapter, save_base, save_entry, save_samples


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("project")


@pytest.fixture(scope="module")
def base(root: Path) -> BaseModel:
    return save_base(root)


@pytest.fixture(scope="module")
def sound(root: Path, base: BaseModel) -> Entry:
    return save_entry(root, "sound")


def only_problem(root: Path, base: BaseModel, entry: Entry) -> str:
    found = look(root, base, [entry])
    assert found.library == ()
    assert len(found.problems) == 1
    assert found.problems[0].item == entry.name
    return str(found.problems[0])


def test_a_sound_library_has_no_problems(root: Path, base: BaseModel, sound: Entry) -> None:
    target = replace(sound, adapter=None)
    found = look(root, base, [sound], [target])
    assert found.problems == ()
    assert (found.library, found.targets) == ((sound,), (target,))


def test_a_missing_adapter_is_named(root: Path, base: BaseModel, sound: Entry) -> None:
    gone = str(root / "gone")
    message = only_problem(root, base, replace(sound, name="a", adapter=gone))
    assert message == f"a: there is no adapter directory {gone}; correct the path or train the adapter"


def test_an_adapter_not_given_is_named(root: Path, base: BaseModel, sound: Entry) -> None:
    assert "no adapter is given" in only_problem(root, base, replace(sound, adapter=None))


def test_a_cut_off_safetensors_file_is_corrupt(root: Path, base: BaseModel, sound: Entry) -> None:
    directory = save_adapter(root / "cut")
    file = directory / "adapter_model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-10])
    message = only_problem(root, base, replace(sound, name="cut", adapter=str(directory)))
    assert message.startswith("cut: adapter_model.safetensors is corrupt: ")
    assert f"it has {len(whole) - 10} bytes and its header describes {len(whole)}" in message


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, b"\x02\0\0\0\0\0\0\0[]", b"\x03\0\0\0\0\0\0\0{xx"])
def test_garbage_instead_of_safetensors_is_corrupt(root: Path, base: BaseModel, sound: Entry, content: bytes) -> None:
    directory = save_adapter(root / "garbage")
    (directory / "adapter_model.safetensors").write_bytes(content)
    assert "is corrupt" in only_problem(root, base, replace(sound, adapter=str(directory)))


def test_an_adapter_of_another_kind_is_named(root: Path, base: BaseModel, sound: Entry) -> None:
    directory = save_adapter(root / "kind")
    config = directory / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"peft_type": "IA3"}))
    assert "the adapter is IA3, not LoRA" in only_problem(root, base, replace(sound, adapter=str(directory)))


def test_an_adapter_of_another_base_model_is_named(root: Path, base: BaseModel, sound: Entry) -> None:
    entry = replace(sound, adapter=str(save_adapter(root / "other", base="other/model")))
    assert "it was made for the base model 'other/model', not 'base'" in only_problem(root, base, entry)


@pytest.mark.parametrize("name", ["base", "some/where/base", "known-as", "../base"])
def test_the_base_model_may_be_called_by_path_last_component_or_alias(
    root: Path, base: BaseModel, sound: Entry, name: str
) -> None:
    entry = replace(sound, adapter=str(save_adapter(root / "named", base=name)))
    assert look(root, base, [entry]).problems == ()


def test_a_shape_mismatch_names_module_found_and_expected_shape(root: Path, base: BaseModel, sound: Entry) -> None:
    entry = replace(sound, adapter=str(save_adapter(root / "wide", hidden=16)))
    problems = [problem.problem for problem in look(root, base, [entry]).problems]
    assert "vit.layers.0.attention.q_proj has factors for [16, 16] where the base model's weight is [8, 8]" in problems
    assert "vit.layers.1.mlp.fc1 has factors for [16, 16] where the base model's weight is [16, 8]" in problems


@pytest.mark.parametrize("hole", [float("nan"), float("inf"), None])
def test_samples_with_a_hole_are_counted(root: Path, base: BaseModel, sound: Entry, hole: float | None) -> None:
    rows: list = random_rows(5, 0)
    rows[1] = [hole, *rows[1][1:]]
    rows[4] = None
    entry = replace(sound, samples=str(save_samples(root / "holes.parquet", rows)))
    assert "2 of 5 samples hold NaN, infinity or nothing" in only_problem(root, base, entry)


def test_empty_missing_unreadable_short_and_odd_samples_are_each_named(
    root: Path, base: BaseModel, sound: Entry
) -> None:
    (root / "unreadable.parquet").write_bytes(b"PAR1 but no more")
    (root / "samples.csv").write_text("colour\nred\n")
    files = {
        "the sample file is empty": save_samples(root / "empty.parquet", []),
        "samples cannot be found at": root / "nowhere.parquet",
        "it cannot be read": root / "unreadable.parquet",
        "it has 1 sample, too few for a standard error": save_samples(root / "one.parquet", random_rows(1, 0)),
        "3 of 3 samples do not have 64 values": save_samples(root / "short.parquet", [[1.0] * 60] * 3),
        "samples have the columns colour": root / "samples.csv",
    }
    for expected, path in files.items():
        assert expected in only_problem(root, base, replace(sound, samples=str(path)))


def test_all_problems_are_found_at_once_and_the_sound_rest_goes_on(root: Path, base: BaseModel, sound: Entry) -> None:
    twin = replace(sound, name="twin")
    nowhere = str(root / "nowhere.parquet")
    bad_target = Entry("t", None, "", nowhere, None)
    unsafe = replace(sound, name="../up")
    found = look(root, base, [twin, sound, twin, unsafe], [bad_target])
    assert found.library == (sound,)
    assert found.targets == ()
    assert [str(problem) for problem in found.problems] == [
        "twin: the name is used 2 times; give every entry its own name",
        "twin: the name is used 2 times; give every entry its own name",
        "../up: its name cannot become a path; use letters, digits, dots, dashes and underscores, at most 100, "
        "starting with a letter or a digit",
        "target t: no samples are given; give a file or folder as `samples`",
        f"target t: evaluation: samples cannot be found at {nowhere} (FileNotFoundError); correct the path",
    ]


def test_a_diffusion_reference_may_have_descriptive_texts_instead_of_samples(
    root: Path, base: BaseModel, sound: Entry
) -> None:
    def problems(description: str | None, family: Family) -> list[str]:
        entry = replace(sound, samples="", description=description)
        options = {"base": base, "aliases": frozenset[str](), "root": root, "memory": Memory()}
        return [one.problem for one in problems_of([entry], [], family=family, **options)]

    assert problems("stained cells\nnuclei in purple", Family.DIFFUSION) == []
    assert problems("one line is one sample", Family.DIFFUSION) == ["no samples are given"]
    assert problems("stained cells\nnuclei in purple", Family.ENCODER) == ["no samples are given"]


def test_what_was_examined_is_not_read_again(
    root: Path, base: BaseModel, sound: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = load_memory(tmp_path / "memory.json")
    bad = replace(sound, name="bad", samples=str(save_samples(root / "bad.parquet", [])))
    first = look(root, base, [sound, bad], memory=memory)
    save_memory(tmp_path / "memory.json", memory)
    again = load_memory(tmp_path / "memory.json")
    for name in ("examine_samples", "examine_adapter"):
        monkeypatch.delattr(validation, name)
    assert look(root, base, [sound, bad], memory=again) == first


def test_a_damaged_memory_is_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "memory.json").write_text('{"digests": [1]}')
    assert load_memory(tmp_path / "memory.json").known == {}


def test_the_library_room_imports_neither_torch_nor_transformers() -> None:
    code = (
        "import sys, tasks.library.validation, tasks.library.snapshot, tasks.library.discovery, tasks.prototypes.store"
    )
    code += ", tasks.prototypes.extraction; print({'torch', 'transformers', 'peft'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
