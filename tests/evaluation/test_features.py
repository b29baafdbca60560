"""Metrics of a feature model equal their definitions and their reference libraries."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.multimodal import clip_score
from torchmetrics.image.kid import KernelInceptionDistance
from transformers import AutoModel, AutoTokenizer

from tasks.evaluation.examiners.opening import open_examiner
from tasks.evaluation.metrics.features import bert_scores, clip_scores, kernel_distances
from tasks.evaluation.models.features import Clip, resident_clip
from tasks.files import InvalidInput
from tasks.library.base_model import BaseModel
from tests.evaluation import tiny
from tests.evaluation.test_families import folder, llama, painter

__all__ = ["folder", "llama", "painter"]  # fixtures, used here under the same names


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_clip(tmp_path_factory.mktemp("judges") / "clip")


@pytest.fixture(scope="module")
def clip(clip_folder: Path) -> Clip:
    return resident_clip(clip_folder, "digest", "cpu")


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_bert(tmp_path_factory.mktemp("judges") / "bert")


class _AsItIs(torch.nn.Module):
    num_features = 6

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 9999), count=st.integers(2, 12))
def test_the_mean_kernel_distance_is_torchmetrics_kid_on_all_images(seed: int, count: int):
    drawn, real = torch.randn(2, count, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    kid = KernelInceptionDistance(feature=_AsItIs(), subsets=1, subset_size=count).set_dtype(torch.float64)
    kid.update(real, real=True)
    kid.update(drawn, real=False)
    wanted, _ = kid.compute()
    assert kernel_distances(drawn, real).mean() == pytest.approx(float(wanted), rel=1e-4, abs=1e-5)


def test_a_kernel_distance_by_hand():
    # In one dimension (x y + 1)^3: drawn 0 and 1, real 1 and 2. Among drawn k(0, 1) = 1; among real k(1, 2) = 27.
    # To the real ones: from 0 it is 1 and 1, from 1 it is 8 and 27.
    values = kernel_distances(torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [2.0]]))
    np.testing.assert_allclose(values, [1 - 2 * 1 + 27, 1 - 2 * 17.5 + 27])


def test_one_image_has_no_kernel_distance():
    with pytest.raises(ValueError, match="two images of each kind, not 1 and 3"):
        kernel_distances(torch.zeros(1, 2), torch.zeros(3, 2))


class _Tensors:
    """A CLIP model whose features are tensors, as torchmetrics still expects of it; transformers 5 returns outputs."""

    def __init__(self, model: Any) -> None:
        self.config = model.config
        self._model = model

    def to(self, device: torch.device) -> "_Tensors":
        self._model.to(device)
        return self

    def get_image_features(self, *inputs: Any) -> torch.Tensor:
        return self._model.get_image_features(*inputs).pooler_output

    def get_text_features(self, *inputs: Any) -> torch.Tensor:
        return self._model.get_text_features(*inputs).pooler_output


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_clip_score_is_torchmetrics(clip: Clip):
    images = [np.random.default_rng(seed).random((16, 16, 3)) for seed in range(4)]
    captions = ["a cat", "a dog", "a bee", "a cow"]
    ours = clip_scores(clip.images(images), clip.texts(captions))
    pixels = [torch.from_numpy((image * 255).round().astype(np.uint8)).permute(2, 0, 1) for image in images]
    for score, image, caption in zip(ours, pixels, captions, strict=True):
        wanted = clip_score(image, caption, model_name_or_path=lambda: (_Tensors(clip.model), clip.processor))
        assert score == pytest.approx(max(float(wanted), 0.0), abs=1e-3)


def test_bert_score_is_the_harmonic_mean_of_greedy_matches(bert: Path):
    model, tokenizer = AutoModel.from_pretrained(bert).eval(), AutoTokenizer.from_pretrained(bert)
    said, true = "badface", "cabbage"

    def embedded(text: str) -> torch.Tensor:
        with torch.no_grad():
            states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0, 1:-1]  # letters alone
        return states / states.norm(dim=1, keepdim=True)

    cosine = embedded(said) @ embedded(true).T
    precision, recall = float(cosine.max(dim=1).values.mean()), float(cosine.max(dim=0).values.mean())
    found = bert_scores([said, true], [true, true], model=model, tokenizer=tokenizer)
    np.testing.assert_allclose(found, [2 * precision * recall / (precision + recall), 1.0], rtol=1e-5)


def test_saying_nothing_scores_nothing_and_changes_no_other_score(bert: Path):
    model, tokenizer = AutoModel.from_pretrained(bert).eval(), AutoTokenizer.from_pretrained(bert)
    alone = bert_scores(["face"], ["cage"], model=model, tokenizer=tokenizer)
    together = bert_scores(["", "face", " "], ["cage"] * 3, model=model, tokenizer=tokenizer)
    np.testing.assert_allclose(together, [0.0, alone[0], 0.0], rtol=1e-6)


def judged_by(setting, directory: Path):
    return replace(setting, features=BaseModel("judge", None, directory, "judge"))


def test_written_answers_are_judged_and_their_likelihood_still_decides(llama, bert: Path):
    examiner = open_examiner(judged_by(llama[0], bert))
    assert [metric.name for metric in examiner.metrics] == ["answer_nll", "rouge_l", "bert_score"]
    assert examiner.examine(examiner.base).values["bert_score"].shape == (len(tiny.TEXTS),)


def test_drawn_images_are_judged_and_the_denoising_loss_still_decides(painter, clip_folder: Path):
    examiner = open_examiner(judged_by(painter[0], clip_folder))
    names = ["denoising_loss", "clip_score", "kid"]
    assert [metric.name for metric in examiner.metrics] == names
    found, plain = examiner.examine(examiner.base), open_examiner(painter[0])
    assert [found.values[name].shape for name in names] == [(3,), (3,), (3,)]
    np.testing.assert_allclose(found.answers, plain.examine(plain.base).answers, atol=1e-6)


def test_one_image_cannot_be_judged_and_the_message_says_what_to_do(painter, clip_folder: Path, tmp_path: Path):
    alone = tmp_path / "one.parquet"
    pq.write_table(pq.read_table(painter[0].evaluation).slice(0, 1), alone)
    setting = replace(painter[0], evaluation=str(alone))
    assert open_examiner(setting).shown
    with pytest.raises(InvalidInput, match=r"it has one image.*feature_model"):
        open_examiner(judged_by(setting, clip_folder))
