"""The benchmark's peers: what they compute on hand examples, and that they leave the base as it was."""

from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from tasks.blending.peft_files import read_adapter
from tasks.evaluation.applied import kept
from tasks.library.families import Family
from tasks.training.learners.causal_lm import LanguageLearner, open_causal_lm
from tests.benchmarks.domain.peers.arrow import arrow_model
from tests.benchmarks.domain.peers.lorahub import few_shot_loss, learn_weights, open_hub
from tests.benchmarks.domain.peers.merging import DENSITY, added, dare_delta, dense_deltas, ties_delta
from tests.evaluation import tiny
from tests.training.test_train import job_of

TARGETS = ["q_proj", "v_proj", "down_proj"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_llama(tmp_path_factory.mktemp("peers") / "llama")


@pytest.fixture(scope="module")
def adapters(base: Path) -> list[Path]:
    found = []
    for seed in range(3):
        torch.manual_seed(seed)
        config = LoraConfig(r=2, lora_alpha=4, target_modules=TARGETS, init_lora_weights=False)
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
        model.save_pretrained(base.parent / f"adapter{seed}", save_embedding_layers=False)
        found.append(base.parent / f"adapter{seed}")
    return found


@pytest.fixture
def model(base: Path) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(base).eval()


@pytest.fixture
def learner(base: Path, tmp_path: Path) -> LanguageLearner:
    table = {"text": [f"Finding: {text}." for text in tiny.TEXTS * 2], "answer": tiny.TEXTS[::-1] * 2}
    return open_causal_lm(job_of(tmp_path, Family.CAUSAL_LM, base, table))


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        return model(input_ids=torch.arange(10)[None]).logits


def test_ties_keeps_the_largest_fifth_elects_the_sign_and_averages_what_agrees():
    # Of five entries one is kept: 3, -1 and 6 at the first place, 2 at the second. There the sum is positive, so that
    # -1 is left out and 3 and 6 are averaged; at the second place 2 is alone.
    kept_at = [[3.0, 0.5, 0.5, 0.5, 0.5], [-1.0, 0.5, 0.5, 0.5, 0.5], [6.0, 0.5, 0.5, 0.5, 0.5], [0.5, 2.0, 0, 0, 0]]
    found = ties_delta([{"m": torch.tensor([row])} for row in kept_at])
    assert found["m"].tolist() == [[4.5, 2.0, 0.0, 0.0, 0.0]]


def test_dare_drops_at_random_rescales_and_is_the_mean_in_expectation():
    delta = {"m": torch.full((200, 200), 3.0)}
    found = dare_delta([delta], seed=0)["m"]
    torch.testing.assert_close(found.unique(), torch.tensor([0.0, 3.0 / DENSITY]))
    # 40,000 draws of a share of .2: the mean's standard deviation is 3 * 2 / 200 = .03.
    assert float(dare_delta([delta, {"m": -delta["m"] / 3}], seed=0)["m"].mean()) == pytest.approx(1.0, abs=0.1)


def test_dare_leaves_the_global_generator_alone_and_is_the_same_every_time():
    delta = {"m": torch.randn(8, 8)}
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = dare_delta([delta], seed=1)["m"]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, dare_delta([delta], seed=1)["m"])


def test_a_dense_delta_on_the_base_is_the_adapter_and_leaves_no_trace(model, adapters):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with added(model, dense_deltas(read_adapter(adapters[0]))) as moved:
        with_delta = logits(moved)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with kept(model):
        expected = logits(PeftModel.from_pretrained(model, adapters[0]).eval())
    torch.testing.assert_close(with_delta, expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(with_delta, logits(model), atol=1e-2)


def test_a_hub_with_one_weight_is_that_adapter_and_with_none_the_base(model, adapters):
    with kept(model):
        expected = logits(PeftModel.from_pretrained(model, adapters[1]).eval())
    bare = logits(model)
    with kept(model):
        hub = open_hub(model, adapters)
        torch.testing.assert_close(logits(hub.set(np.array([0.0, 1.0, 0.0]))), expected)
        torch.testing.assert_close(logits(hub.set(np.zeros(3))), bare)
        # Factors are summed apart, so two adapters at a half are not the mean of their deltas (LoraHub's definition).
        with torch.inference_mode():
            half = hub.set(np.array([0.5, 0.5, 0.0]))
        weight = half.get_submodule("base_model.model.model.layers.0.mlp.down_proj").get_delta_weight("default")
        parts = [dense_deltas(read_adapter(one))["model.layers.0.mlp.down_proj"] for one in adapters[:2]]
        assert not torch.allclose(weight, (parts[0] + parts[1]) / 2, atol=1e-3)


def test_lorahub_looks_at_five_examples_and_does_not_end_worse_than_it_began(adapters, learner):
    pytest.importorskip("nevergrad", reason="LoraHub's optimiser is in the extra `bench`")
    rows_seen = []

    class Watched:
        count = learner.count

        def losses(self, model, rows, generator):
            rows_seen.append(rows)
            return learner.losses(model, rows, generator)

    with kept(learner.base):
        loss = few_shot_loss(open_hub(learner.base, adapters), Watched(), draws=2, seed=0)
        weights = learn_weights(loss, len(adapters), seed=0)
        assert loss(weights) < loss(np.zeros(len(adapters)))
    assert len({tuple(rows.tolist()) for rows in rows_seen}) == 1
    assert len(rows_seen[0].unique()) == 5
    assert len(rows_seen[0]) == 10


def test_lorahub_finds_a_minimum_within_its_bounds():
    pytest.importorskip("nevergrad", reason="LoraHub's optimiser is in the extra `bench`")
    weights = learn_weights(lambda w: float(np.square(w - np.array([0.5, -0.3])).sum()), 2, seed=0)
    np.testing.assert_allclose(weights, [0.5, -0.3], atol=0.05)
    assert np.abs(learn_weights(lambda w: -float(w.sum()), 4, seed=0)).max() <= 1.5


def test_arrow_with_one_adapter_is_that_adapter_and_is_taken_off_again(model, adapters):
    bare = logits(model)
    with kept(model):
        expected = logits(PeftModel.from_pretrained(model, adapters[0]).eval())
    with kept(model):
        torch.testing.assert_close(logits(arrow_model(model, adapters[:1])), expected)
    assert torch.equal(logits(model), bare)


def test_arrow_routes_among_several(model, adapters):
    with kept(model):
        routed = logits(arrow_model(model, adapters))
    for one in adapters:
        with kept(model):
            assert not torch.allclose(routed, logits(PeftModel.from_pretrained(model, one).eval()), atol=1e-3)
