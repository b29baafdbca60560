"""The reports example: impressions in the house styles of invented departments, by a small Llama with its tokenizer."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from tasks.blending.peft_files import read_adapter
from tasks.examples.building import Member
from tasks.examples.reports import members, texts
from tasks.examples.reports.build import plan_of
from tasks.files import digest_tree
from tests.examples.quiet import one_thread

SHORT = members.Effort(base=3, adapter=2)
MADE = Member("numbered", "library/numbered", 1003)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base and one member: what worker processes make of each is the same."""
    directory = tmp_path_factory.mktemp("reports")
    with one_thread():
        members.make_base(directory, 0, SHORT.base)
        members.make_member(directory, MADE, 0, SHORT.adapter)
    return directory


def report(name: str, seed: int = 0) -> texts.Report:
    return texts.written(texts.draw_report(np.random.default_rng(seed)), name)


def test_every_style_shows_in_what_is_read_and_in_what_is_written():
    for name in texts.STYLES:
        seeds = range(20)
        assert all(report(name, seed).findings != report("plain", seed).findings for seed in seeds), name
        assert any(report(name, seed).impression != report("plain", seed).impression for seed in seeds), name


def test_a_target_writes_in_both_of_its_styles():
    for name in texts.TARGETS:
        first, second = name.split("_and_")
        both = {report(name, seed).findings for seed in range(5)}
        assert not both & {report(first, seed).findings for seed in range(5)}
        assert not both & {report(second, seed).findings for seed in range(5)}


def test_styles_say_the_same_thing():
    assert texts.centimetres("a 12 mm cyst") == "a 1.2 cm cyst"
    assert texts.numbered("one. two.") == "1) one. 2) two."
    assert texts.numbered("a 0.8 cm cyst. new.") == "1) a 0.8 cm cyst. 2) new."
    assert texts.shortened("left upper lobe") == "L UL"
    assert texts.tagged("one. two.") == "- one.\n- two."
    assert texts.capitals("8 mm") == "8 MM"


def test_the_impression_is_about_the_findings():
    plain = report("plain")
    for word in plain.impression.replace(",", "").replace(".", "").split():
        assert word in plain.findings


def test_the_plan_has_every_pair_of_styles_that_can_be_had_at_once():
    plan = plan_of(SHORT)
    assert plan.references == ("plain", *texts.STYLES)
    assert len(plan.targets) == 9
    assert plan.settings["family"] == "causal-lm"


def test_a_members_files_are_read_by_the_real_classes(project: Path):
    AutoModelForCausalLM.from_pretrained(project / "base")
    tokenizer = AutoTokenizer.from_pretrained(project / "base")
    folder = MADE.within(project)
    assert read_adapter(folder / "adapter").modules
    assert pq.read_schema(folder / "samples.parquet").names == ["text"]
    table = pq.read_table(folder / "evaluation.parquet")
    assert table.column_names == ["text", "answer"]
    answer = table["answer"][0].as_py()
    assert tokenizer.decode(tokenizer(answer)["input_ids"]) == answer


def test_no_evaluated_report_is_among_the_samples(project: Path):
    folder = MADE.within(project)
    seen = set(pq.read_table(folder / "samples.parquet")["text"].to_pylist())
    evaluated = pq.read_table(folder / "evaluation.parquet")["text"].to_pylist()
    assert not seen & set(evaluated)


def test_a_member_made_again_has_the_same_bytes(project: Path, tmp_path: Path):
    (tmp_path / "base").symlink_to(project / "base")
    with one_thread():
        members.make_member(tmp_path, MADE, 0, SHORT.adapter)
    assert digest_tree(MADE.within(tmp_path)) == digest_tree(MADE.within(project))
