"""The digits example: a complete project, made offline from digits that scikit-learn bundles."""

import json
import math
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from peft import PeftModel
from transformers import ViTForImageClassification

from tasks.examples.building import Member
from tasks.examples.digits import members
from tasks.examples.digits.build import plan_of
from tasks.examples.digits.conditions import CLEAN, PAIRS, SIDE, SINGLES, acquire, both, enlarge
from tasks.examples.digits.data import COUNT, TRAINING_POOL, draw, read_digits
from tasks.examples.digits.model import untrained_base
from tasks.files import digest_tree
from tests.examples.quiet import one_thread

SHORT = members.Effort(base=300, adapter=60)  # enough to see what is asserted below; the example itself trains longer
MADE = tuple(Member(name, f"library/{name}", 1000 + number) for number, name in enumerate(("clean", "rotation")))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base and two members: what worker processes make of each is the same."""
    directory = tmp_path_factory.mktemp("digits")
    with one_thread():
        members.make_base(directory, 0, SHORT.base)
        for member in MADE:
            members.make_member(directory, member, 0, SHORT.adapter)
    return directory


def test_the_targets_are_all_pairs_of_the_five_conditions():
    names = {condition.name for condition in SINGLES}
    pairs = {frozenset(condition.name.split("_")) for condition in PAIRS}
    assert len(PAIRS) == math.comb(5, 2)
    assert all(pair <= names and len(pair) == 2 for pair in pairs)


def test_two_conditions_at_once_have_the_strengths_of_both():
    rotation, ramp = SINGLES[0], SINGLES[1]
    assert both(rotation, ramp).rotation == rotation.rotation
    assert both(rotation, ramp).ramp == ramp.ramp
    assert both(rotation, CLEAN).rotation == rotation.rotation


def test_a_ramp_is_darker_on_the_left_and_brighter_on_the_right():
    ramp = SINGLES[1]
    blank = torch.zeros(64, 1, SIDE, SIDE)
    columns = acquire(blank, ramp, generator=torch.Generator().manual_seed(0)).mean(dim=(0, 1, 2))
    # model input is 2 x - 1 of the grey value, so the span is twice the ramp
    assert float(columns[-1] - columns[0]) == pytest.approx(2 * ramp.ramp, abs=0.05)
    assert float(columns.mean()) == pytest.approx(-1.0, abs=0.02)


def test_a_clean_acquisition_keeps_the_digit_up_to_jitter_and_noise():
    images = read_digits(0)[0].images[:200]
    shown = (acquire(images, CLEAN, generator=torch.Generator().manual_seed(0)) + 1) / 2
    assert float((shown - images).abs().mean()) < 0.1
    assert enlarge(torch.full((1, 8, 8), 16).numpy()).max() == 1.0


def test_no_digit_is_both_trained_on_and_evaluated_on():
    training, evaluation = read_digits(0)
    assert len(training.labels) == TRAINING_POOL
    seen = {tuple(image.flatten().tolist()) for image in training.images}
    assert not any(tuple(image.flatten().tolist()) in seen for image in evaluation.images)


def test_a_draw_takes_different_digits():
    pool, _ = read_digits(0)
    drawn = draw(pool, COUNT, generator=torch.Generator().manual_seed(3))
    assert len({tuple(image.flatten().tolist()) for image in drawn.images}) == COUNT


def test_the_base_has_about_forty_thousand_parameters():
    assert 35_000 < sum(parameter.numel() for parameter in untrained_base().parameters()) < 45_000


def test_a_members_files_are_there_with_their_columns(project: Path):
    for member in MADE:
        folder = member.within(project)
        assert (folder / "adapter" / "adapter_model.safetensors").is_file()
        assert pq.read_schema(folder / "samples.parquet").names == ["pixel_values"]
        assert pq.read_table(folder / "samples.parquet").num_rows == COUNT
        assert pq.read_schema(folder / "evaluation.parquet").names == ["pixel_values", "label"]


def test_the_plan_has_six_references_and_ten_targets():
    plan = plan_of(SHORT)
    assert plan.references == ("clean", *(condition.name for condition in SINGLES))
    assert plan.targets == tuple(condition.name for condition in PAIRS)
    assert plan.settings == {"family": "encoder", "prototypes": {"pooling": "map"}}


def test_the_base_reads_clean_digits_and_an_adapter_reads_its_condition(project: Path):
    def accuracy(model: torch.nn.Module, name: str) -> float:
        table = pq.read_table(project / "library" / name / "evaluation.parquet")
        inputs = torch.tensor(table["pixel_values"].to_pylist()).reshape(-1, 1, SIDE, SIDE)
        with torch.no_grad():
            predicted = model(pixel_values=inputs).logits.argmax(dim=1)
        return float((predicted == torch.tensor(table["label"].to_pylist())).float().mean())

    base = ViTForImageClassification.from_pretrained(project / "base")
    clean, rotated = accuracy(base, "clean"), accuracy(base, "rotation")
    own = accuracy(PeftModel.from_pretrained(base, project / "library" / "rotation" / "adapter"), "rotation")
    assert clean > 0.7
    assert own > rotated + 0.05


def test_an_adapter_names_its_base_by_a_path_that_moves_with_the_project(project: Path):
    config = json.loads((project / "library" / "clean" / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "base"
    assert config["modules_to_save"] is None


def test_a_member_made_again_has_the_same_bytes(project: Path, tmp_path: Path):
    (tmp_path / "base").symlink_to(project / "base")
    with one_thread():
        members.make_member(tmp_path, MADE[1], 0, SHORT.adapter)
    assert digest_tree(MADE[1].within(tmp_path)) == digest_tree(MADE[1].within(project))
