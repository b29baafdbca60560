"""SAM's attention without bias matrices is transformers' own, to rounding, and makes no matrix over pairs of tokens."""

import copy

import pytest
import torch
from torch.nn import functional
from transformers import SamVisionConfig, SamVisionModel

from tasks.prototypes.encoders.sam_attention import without_bias_matrices


def tower(implementation: str) -> SamVisionModel:
    """Two windowed layers and a global one; the positions' tables, which transformers starts at zero, are filled."""
    sizes = {"hidden_size": 24, "num_attention_heads": 2, "num_hidden_layers": 3, "mlp_dim": 32, "output_channels": 8}
    shape = {"image_size": 40, "patch_size": 4, "window_size": 3, "global_attn_indexes": [1]}
    torch.manual_seed(0)
    config = SamVisionConfig(**sizes, **shape, initializer_range=0.3)
    config._attn_implementation = implementation
    model = SamVisionModel(config).eval()
    for name, parameter in model.named_parameters():
        if "rel_pos" in name or "pos_embed" in name:
            torch.nn.init.normal_(parameter)
    return model


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_the_states_are_transformers_own(implementation: str) -> None:
    whole = tower(implementation)
    ours = copy.deepcopy(whole)
    without_bias_matrices(ours)
    pixels = torch.randn(2, 3, 40, 40)
    with torch.inference_mode():
        torch.testing.assert_close(ours(pixels).last_hidden_state, whole(pixels).last_hidden_state, rtol=0, atol=2e-5)


def test_an_oblong_picture_has_two_tables() -> None:
    layer = tower("sdpa").vision_encoder.layers[1].attn
    hidden = torch.randn(2, 6, 10, 24)
    with torch.inference_mode():
        wanted, _ = layer(hidden)
        without_bias_matrices(layer)
        found, _ = layer(hidden)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


def test_attention_sees_no_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    attention = functional.scaled_dot_product_attention

    def watched(*tensors: torch.Tensor, **options: object) -> torch.Tensor:
        seen.append((len(tensors), options.get("attn_mask")))
        return attention(*tensors, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(functional, "scaled_dot_product_attention", watched)
    model = tower("sdpa")
    without_bias_matrices(model)
    with torch.inference_mode():
        model(torch.randn(1, 3, 40, 40))
    assert seen == [(3, None)] * 3


def test_a_tower_without_relative_positions_is_left_alone() -> None:
    model = SamVisionModel(SamVisionConfig(hidden_size=24, num_attention_heads=2, num_hidden_layers=1, mlp_dim=8,
                                           use_rel_pos=False, image_size=40, patch_size=4))  # fmt: skip
    without_bias_matrices(model)
    assert "forward" not in vars(model.vision_encoder.layers[0].attn)
