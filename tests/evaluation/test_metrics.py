"""Metrics of masks and texts equal their definitions and their reference libraries."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics import DiceMetric, HausdorffDistanceMetric, MeanIoU
from rouge_score.rouge_scorer import RougeScorer
from scipy.spatial.distance import cdist

from tasks.evaluation.metrics.language import rouge_l
from tasks.evaluation.metrics.segmentation import mask_values

WORDS = st.sampled_from(["no", "acute", "fracture", "seen", "in", "left", "lung", "the"])


def random_masks(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    first, second = torch.rand(2, 9, 11, generator=generator) > 0.6
    first[0, 0] = second[4, 4] = True
    return first, second


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_dice_and_iou_are_their_definitions(seed):
    first, second = random_masks(seed)
    both = float((first & second).sum())
    values = mask_values(first, second)
    assert values["dice"] == pytest.approx(2 * both / float(first.sum() + second.sum()))
    assert values["iou"] == pytest.approx(both / float((first | second).sum()))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_mask_metrics_are_monais(seed):
    first, second = random_masks(seed)
    batch = first[None, None].float(), second[None, None].float()
    values = mask_values(first, second)
    assert values["dice"] == pytest.approx(float(DiceMetric()(*batch)))
    assert values["iou"] == pytest.approx(float(MeanIoU()(*batch)))
    hausdorff = HausdorffDistanceMetric(include_background=True, percentile=95)
    assert values["hd95"] == pytest.approx(float(hausdorff(*batch)))


def test_the_distance_of_two_dots_is_the_distance_between_them():
    first, second = torch.zeros(2, 10, 10, dtype=torch.bool)
    first[2, 3] = second[5, 7] = True
    assert mask_values(first, second)["hd95"] == pytest.approx(float(cdist([[2, 3]], [[5, 7]])[0, 0]))


def test_empty_masks_have_the_best_or_the_worst_value_and_never_none():
    empty, full = torch.zeros(6, 8, dtype=torch.bool), torch.ones(6, 8, dtype=torch.bool)
    assert mask_values(empty, empty) == {"dice": 1.0, "iou": 1.0, "hd95": 0.0}
    assert mask_values(empty, full) == {"dice": 0.0, "iou": 0.0, "hd95": 10.0}  # the diagonal of 6 x 8
    assert mask_values(full, empty) == mask_values(empty, full)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(WORDS, min_size=1, max_size=12),
    st.data(),
)
def test_rouge_l_is_googles_and_one_for_the_same_text(words, data):
    said, true = " ".join(data.draw(st.permutations(words))), " ".join(words)
    expected = RougeScorer(["rougeL"], use_stemmer=True).score(true, said)["rougeL"].fmeasure
    np.testing.assert_allclose(rouge_l([said, true], [true, true]), [expected, 1.0])


def test_rouge_l_is_the_longest_common_subsequence():
    # common subsequence "no fracture" of two words; precision 2/2, recall 2/4
    assert rouge_l(["no fracture"], ["no acute displaced fracture"])[0] == pytest.approx(2 / 3)
