"""Every method on one target, through one path."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from peft import PeftModel
from transformers import ViTForImageClassification

import tasks.evaluation
from tasks.blending.peft_files import write_adapter
from tasks.evaluation.evaluate import Bootstrap, EvaluationJob, evaluate_target
from tasks.evaluation.examiners.opening import open_examiner
from tasks.evaluation.scores import Direction
from tasks.files import InvalidInput, digest_value
from tests.evaluation.test_applied import blend_of

WEIGHTS = {
    "base": (0.0, 0.0, 0.0),
    "nearest": (1.0, 0.0, 0.0),
    "l1": (0.9, -0.4, 0.5),
}


def job_of(world, **changes) -> EvaluationJob:
    job = EvaluationJob(
        target="target",
        setting=world.setting(),
        adapters=world.adapters,
        weights=WEIGHTS,
        whole={},
        controlled="l1",
        draws=2,
        bootstrap=Bootstrap(resamples=200, level=0.95, seed=0),
    )
    return replace(job, **changes)


def predictions(model: torch.nn.Module, world) -> np.ndarray:
    with torch.no_grad():
        return model.eval()(pixel_values=torch.from_numpy(world.pixels)).logits.argmax(dim=1).numpy()


def test_a_method_is_scored_as_peft_would_answer(world):
    scored = evaluate_target(job_of(world))
    base = ViTForImageClassification.from_pretrained(world.base.path)
    hits = predictions(base, world) == world.labels
    np.testing.assert_array_equal(scored.values["base"]["accuracy"], hits)
    own = predictions(PeftModel.from_pretrained(base, world.adapters[0]), world) == world.labels
    np.testing.assert_array_equal(scored.values["nearest"]["accuracy"], own)
    assert hits.mean() != own.mean()  # else this test could not tell them apart


def test_every_method_and_both_controls_have_a_score_with_its_interval(world):
    scored = evaluate_target(job_of(world, whole={"ceiling": world.adapters[2]}))
    assert set(scored.scores) == {"base", "nearest", "l1", "random", "permuted", "ceiling"}
    assert scored.primary == "accuracy"
    for method, metrics in scored.scores.items():
        score = metrics["accuracy"]
        assert score.low <= score.value <= score.high
        assert score.n == len(world.labels)
        assert score.direction is Direction.HIGHER
        assert score.value == pytest.approx(scored.values[method]["accuracy"].mean())


def test_a_directory_scored_whole_is_the_method_that_it_was_written_from(world, tmp_path: Path):
    write_adapter(blend_of(world.adapters, WEIGHTS["l1"]), tmp_path / "champion")
    scored = evaluate_target(job_of(world, whole={"champion": tmp_path / "champion"}))
    assert scored.scores["champion"] == scored.scores["l1"]


def test_scores_do_not_depend_on_the_order_of_methods_or_on_what_ran_before(world):
    forward = evaluate_target(job_of(world))
    backward = evaluate_target(job_of(world, weights=dict(reversed(WEIGHTS.items()))))
    assert forward.scores == backward.scores


def test_controls_are_the_same_in_a_rerun_and_differ_between_targets(world):
    def values(target: str, method: str) -> bytes:
        return evaluate_target(job_of(world, target=target)).values[method]["accuracy"].tobytes()

    assert values("target", "random") == values("target", "random")
    drawn = {values(target, "permuted") for target in ("target", "other", "third", "fourth")}
    assert len(drawn) > 1


def test_adapters_too_large_to_keep_give_the_same_scores(world, monkeypatch: pytest.MonkeyPatch):
    expected = evaluate_target(job_of(world)).values
    monkeypatch.setattr("tasks.evaluation.evaluate.RESIDENT", 0)
    found = evaluate_target(job_of(world)).values
    assert all(
        np.array_equal(found[method][metric], value)
        for method, values in expected.items()
        for metric, value in values.items()
    )


def test_no_adapter_file_is_written(world):
    before = sorted(world.root.rglob("*"))
    evaluate_target(job_of(world))
    assert sorted(world.root.rglob("*")) == before


def test_the_base_is_loaded_once_for_many_targets(world):
    first, second = open_examiner(world.setting()), open_examiner(world.setting())
    assert first.base is second.base


def test_a_few_samples_come_with_every_methods_answer(world):
    shown = evaluate_target(job_of(world)).shown
    assert len(shown) == 3
    truths = [world.labels[row] for row in (0, 20, 39)]  # evenly spaced rows of forty
    assert [item.truth for item in shown] == [str(label) for label in truths]
    assert set(shown[0].answers) == {"base", "nearest", "l1", "random", "permuted"}
    assert shown[0].sample.shape == (8, 8)


def test_a_job_and_its_scores_travel_between_processes(world):
    job = pickle.loads(pickle.dumps(job_of(world)))
    assert pickle.loads(pickle.dumps(evaluate_target(job))).scores == evaluate_target(job).scores


def test_an_evaluation_set_without_labels_or_rows_or_with_another_shape_is_named(world, tmp_path: Path):
    def scored(columns: dict) -> None:
        pq.write_table(pa.table(columns), tmp_path / "bad.parquet")
        evaluate_target(job_of(world, setting=replace(world.setting(), evaluation=str(tmp_path / "bad.parquet"))))

    pixels = pa.array([[0.0] * 64], pa.list_(pa.float32()))
    with pytest.raises(InvalidInput, match=r"bad.parquet: it has columns pixel_values and no label; add the column"):
        scored({"pixel_values": pixels})
    with pytest.raises(InvalidInput, match="it has no rows"):
        scored({"pixel_values": pixels[:0], "label": pa.array([], pa.int64())})
    with pytest.raises(InvalidInput, match="9 values in a row, the model takes 64"):
        scored({"pixel_values": pa.array([[0.0] * 9], pa.list_(pa.float32())), "label": [1]})
    with pytest.raises(InvalidInput, match="no column pixel_values or image"):
        scored({"other": [1], "label": [1]})


def test_version_two_gives_these_scores():
    """Derived: labels 0..3 against a model that always says 0 are one hit in four; seed 0 resamples it."""
    from tasks.evaluation.intervals import mean_intervals

    interval = mean_intervals(np.array([[1.0, 0.0, 0.0, 0.0]]), resamples=1000, level=0.5, seed=0)[0]
    # the number of hits in a resample is binomial(4, 1/4), whose quartiles are 0 and 2 of 4 ... or 1 of 4
    assert (tasks.evaluation.VERSION, interval.value) == ("3", 0.25)
    assert digest_value([interval.low, interval.high]) == digest_value([0.0, 0.5])
