"""TIES and DARE as published, on whole deltas; they exist to be compared with the sum."""

import pytest
import torch
from peft import LoraConfig

from tasks.blending.comparison import blend_densely, dare, ties
from tasks.blending.peft_files import read_adapter, write_adapter
from tasks.blending.profiles import Portable
from tests.blending.models import peft_deltas, save_random_adapter, weighted_sum

ONES = torch.ones(2, dtype=torch.float64)


def test_ties_keeps_the_largest_entries_and_averages_those_that_agree_with_the_elected_sign():
    deltas = torch.tensor([[[4.0, -1.0, 0.1]], [[-2.0, -3.0, 0.2]]], dtype=torch.float64)
    # Trimmed to two of three entries: [4, -1, 0] and [-2, -3, 0]; signs +, -; agreeing: 4 | -1, -3 | none.
    assert ties(deltas, ONES, density=2 / 3).tolist() == [[4.0, -2.0, 0.0]]


def test_ties_of_one_delta_at_full_density_is_that_delta():
    delta = torch.randn(1, 3, 4, dtype=torch.float64)
    assert torch.allclose(ties(delta, torch.ones(1, dtype=torch.float64), density=1.0), delta[0])


def test_ties_keeps_at_least_one_entry_of_a_small_delta():
    assert float(ties(torch.tensor([[[1.0, 2.0]]]), torch.ones(1), density=0.01).abs().sum()) == 2.0


def test_dare_is_unbiased_and_exact_at_full_density():
    deltas = torch.randn(2, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    assert torch.allclose(dare(deltas, ONES, density=1.0, generator=generator), deltas.sum(0))
    mean = torch.stack([dare(deltas, ONES, density=0.5, generator=generator) for _ in range(4000)]).mean(0)
    # Each entry has variance sum d^2 (1 - p) / p = sum d^2; five standard errors over 4000 draws.
    assert bool(((mean - deltas.sum(0)).abs() < 5 * ((deltas**2).sum(0) / 4000).sqrt()).all())


def test_a_dense_blend_by_the_plain_sum_equals_the_exact_blend(tmp_path):
    config = LoraConfig(r=2, lora_alpha=3, target_modules=["q_proj", "conv2", "embed"])
    directories = [save_random_adapter(tmp_path / str(i), config, seed=i) for i in range(2)]
    blend = blend_densely(
        Portable(base_shapes={}),
        [read_adapter(path) for path in directories],
        [0.7, -0.3],
        lambda deltas, weights: torch.einsum("k,koi->oi", weights, deltas),
        4,
        base_model_name="base",
        revision=None,
    )
    write_adapter(blend, tmp_path / "out")
    found, wanted = peft_deltas(tmp_path / "out"), weighted_sum(directories, [0.7, -0.3])
    assert all(torch.allclose(found[name], delta, atol=1e-5) for name, delta in wanted.items())
    assert blend.lost_energy == pytest.approx(0, abs=1e-12)
