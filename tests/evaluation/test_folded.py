"""A blend folded into the base's weights computes what PEFT does with its factors, for every kind of layer."""

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers.pytorch_utils import Conv1D

from tasks.blending.blend import module_factors
from tasks.blending.exact import blend_exact
from tasks.blending.peft_files import read_adapter
from tasks.evaluation.applied import applied
from tasks.evaluation.folded import foldable, folded

LAYERS = ["embedding", "linear", "transposed", "conv1", "conv2"]


class Everything(nn.Module):
    """Tokens (n, 6) to numbers, through one layer of every kind that LoRA adapts."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 8)
        self.linear = nn.Linear(8, 12)
        self.transposed = Conv1D(8, 12)  # (out, in)
        self.conv1 = nn.Conv1d(8, 4, 3)
        self.conv2 = nn.Conv2d(1, 3, 2)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden = self.transposed(torch.tanh(self.linear(self.embedding(tokens))))
        return self.conv2(self.conv1(hidden.transpose(1, 2))[:, None])


def model(dtype: torch.dtype = torch.float32) -> Everything:
    torch.manual_seed(0)
    return Everything().to(dtype).eval()


@pytest.fixture
def adapters(tmp_path):
    paths = []
    for rank in (4, 6):
        torch.manual_seed(rank)
        config = LoraConfig(r=rank, lora_alpha=3, target_modules=LAYERS, init_lora_weights=False)
        get_peft_model(model(), config).save_pretrained(tmp_path / str(rank), save_embedding_layers=False)
        paths.append(tmp_path / str(rank))
    return paths


def blend_of(paths, weights):
    return blend_exact([read_adapter(path) for path in paths], weights, base_model_name="base", revision=None)


TOKENS = torch.arange(24).reshape(4, 6) % 10


@pytest.mark.parametrize("index", [0, 1])
def test_every_layer_gives_pefts_own_output(adapters, index):
    base, weights = model(), [float(index == 0), float(index == 1)]
    blend = blend_of(adapters, weights)
    assert foldable(base, blend)
    with torch.no_grad():
        expected = PeftModel.from_pretrained(model(), adapters[index]).eval()(TOKENS)
        assert not torch.allclose(expected, base(TOKENS), atol=1e-2)
        with applied(base, blend) as changed:
            assert changed is base
            torch.testing.assert_close(changed(TOKENS), expected, rtol=1e-5, atol=1e-5)


def test_the_base_has_its_own_parameters_again_also_after_an_error(adapters):
    base = model()
    own = dict(base.named_parameters())
    before = {name: parameter.clone() for name, parameter in own.items()}
    with pytest.raises(RuntimeError, match="in the middle"), applied(base, blend_of(adapters, [0.7, -0.3])):
        raise RuntimeError("in the middle")
    after = dict(base.named_parameters())
    assert list(after) == list(own)
    assert all(after[name] is own[name] and torch.equal(after[name], before[name]) for name in own)
    assert all(parameter.requires_grad for parameter in after.values())


def test_a_base_in_fewer_bits_is_not_folded(adapters):
    assert not foldable(model(torch.bfloat16), blend_of(adapters, [1.0, 1.0]))


def test_a_weight_that_another_module_shares_is_not_folded(adapters):
    base = model()
    base.head = nn.Linear(8, 10, bias=False)
    base.head.weight = base.embedding.weight
    assert not foldable(base, blend_of(adapters, [1.0, 1.0]))


def test_light_factors_stay_factors(tmp_path):
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(200, 200)

    for rank in (9, 11):  # of 200 x 200, these have .09 and .11 of the elements
        config = LoraConfig(r=rank, target_modules=["linear"], init_lora_weights=False)
        get_peft_model(Wide(), config).save_pretrained(tmp_path / str(rank))
    assert [foldable(Wide(), blend_of([tmp_path / str(rank)], [1.0])) for rank in (9, 11)] == [False, True]


def test_layers_of_unknown_kind_are_left_to_peft(adapters):
    class Own(nn.Linear):
        pass

    base = model()
    base.linear = Own(8, 12)
    assert not foldable(base, blend_of(adapters, [1.0, 1.0]))


def test_what_is_folded_is_the_weighted_sum(adapters):
    base = model()
    before = base.linear.weight.clone()
    with folded(base, module_factors(blend_of(adapters, [0.7, -0.3]))):
        change = base.linear.weight - before
    alone = []
    for path in adapters:
        with folded(base, module_factors(blend_of([path], [1.0]))):
            alone.append(base.linear.weight - before)
    torch.testing.assert_close(change, 0.7 * alone[0] - 0.3 * alone[1], rtol=1e-5, atol=1e-6)
