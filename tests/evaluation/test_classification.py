"""Accuracy of single samples."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score

from tasks.evaluation.metrics.classification import ACCURACY, accuracy
from tasks.evaluation.scores import Direction


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(2, 7), st.integers(0, 1000))
def test_the_mean_of_the_single_values_is_scikit_learns_accuracy(count, classes, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, classes, generator=generator)
    labels = torch.randint(classes, (count,), generator=generator)
    single = accuracy(logits, labels)
    assert single.shape == (count,)
    assert set(np.unique(single)) <= {0.0, 1.0}
    assert single.mean() == pytest.approx(accuracy_score(labels, logits.argmax(dim=1)))


def test_higher_is_better():
    assert ACCURACY.direction is Direction.HIGHER


def test_a_label_that_is_no_class_is_refused():
    with pytest.raises(ValueError, match="labels range from 0 to 3, the model has 3 classes"):
        accuracy(torch.zeros(2, 3), torch.tensor([0, 3]))
