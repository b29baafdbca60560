"""Controls carry the blend's size and none of its information."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.blending.blend import module_norms
from tasks.evaluation.controls import norm_matched, permuted_weights, random_control
from tests.evaluation.test_applied import blend_of


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-3, 3), min_size=1, max_size=8), st.integers(0, 99))
def test_permuted_weights_are_the_same_weights(weights, seed):
    shuffled = permuted_weights(weights, np.random.default_rng(seed))
    assert sorted(shuffled) == sorted(weights)


def test_some_permutation_moves_the_weights():
    weights = (0.9, 0.2, -0.1)
    generator = np.random.default_rng(0)
    assert any(permuted_weights(weights, generator) != weights for _ in range(10))


def test_controls_have_the_norm_of_the_blend_in_every_module(world):
    reference = blend_of(world.adapters, [0.8, -0.3, 0.5])
    matched = norm_matched(blend_of(world.adapters, [0.5, 0.8, -0.3]), reference)
    drawn = random_control(reference, 7)
    for control in (matched, drawn):
        assert module_norms(control) == pytest.approx(module_norms(reference), rel=1e-4)


def test_norm_matching_keeps_the_direction(world):
    blend = blend_of(world.adapters, [0.5, 0.8, -0.3])
    matched = norm_matched(blend, blend_of(world.adapters, [1.6, 0.0, 0.0]))
    adapted = {key: tensor for key, tensor in blend.tensors.items() if tensor.any()}  # the rest pads packed projections
    assert len(adapted) == 2 * 4
    for key, tensor in adapted.items():
        cosine = torch.cosine_similarity(tensor.flatten(), matched.tensors[key].flatten(), dim=0)
        assert float(cosine) == pytest.approx(1.0, abs=1e-5)


def test_a_zero_blend_has_a_zero_control(world):
    nothing = blend_of(world.adapters, [0.0, 0.0, 0.0])
    assert set(module_norms(norm_matched(blend_of(world.adapters, [1.0, 1.0, 1.0]), nothing)).values()) == {0.0}
    assert set(module_norms(random_control(nothing, 0)).values()) == {0.0}


def test_a_seed_draws_one_control_and_another_seed_another(world):
    reference = blend_of(world.adapters, [0.8, -0.3, 0.5])
    key = next(iter(reference.tensors))
    assert torch.equal(random_control(reference, 1).tensors[key], random_control(reference, 1).tensors[key])
    assert not torch.equal(random_control(reference, 1).tensors[key], random_control(reference, 2).tensors[key])
