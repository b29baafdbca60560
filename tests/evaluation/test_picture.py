"""The picture of samples: everything on it can be read, and it says what its columns are."""

import numpy as np
import pytest

from tasks.evaluation.picture import samples_picture
from tasks.evaluation.scores import Shape, Shown


def texts_and_sizes(shown: list[Shown]) -> dict[str, float]:
    figure = samples_picture("target", shown)
    return {text.get_text(): text.get_fontsize() for axes in figure.axes for text in axes.texts}


def row(truth: Shape, **answers: Shape) -> Shown:
    return Shown(np.zeros((4, 4)), truth, answers)


def test_names_of_classes_are_large():
    assert texts_and_sizes([row("7", base="1", chosen="7")]) == {"7": 16, "1": 16}


def test_one_short_answer_among_sentences_is_not_larger_than_they_are():
    sentence = "left kidney mass, unchanged since the last examination"
    assert set(texts_and_sizes([row(sentence, base="1.", chosen=sentence)]).values()) == {7}


@pytest.mark.parametrize("methods", [("base", "chosen"), ("base", "nearest", "chosen", "ceiling")])
def test_every_column_of_a_method_is_explained_and_no_other(methods: tuple[str, ...]):
    figure = samples_picture("target", [row(np.zeros((4, 4)), **{method: np.ones((4, 4)) for method in methods})])
    explained = {part.split(":")[0].strip() for part in figure.get_supxlabel().replace("\n", " ").split(";")}
    assert explained == set(methods)
