"""An adapter on the resident base: the same as PEFT's own loading, and no trace of it afterwards."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import ViTForImageClassification

from tasks.blending.exact import blend_exact
from tasks.blending.peft_files import read_adapter
from tasks.evaluation.applied import applied


def blend_of(adapters, weights):
    return blend_exact([read_adapter(path) for path in adapters], weights, base_model_name="base", revision=None)


def fresh(world) -> torch.nn.Module:
    return ViTForImageClassification.from_pretrained(world.base.path).eval()


def output(model: torch.nn.Module, world) -> torch.Tensor:
    with torch.no_grad():
        return model(pixel_values=torch.from_numpy(world.pixels)).logits


def test_weight_one_on_one_adapter_gives_pefts_own_output(world):
    base = fresh(world)
    for path in world.adapters:
        expected = output(PeftModel.from_pretrained(fresh(world), path).eval(), world)
        with applied(base, blend_of([path], [1.0])) as model:
            torch.testing.assert_close(output(model, world), expected)


def test_the_base_is_bit_for_bit_itself_afterwards(world):
    base = fresh(world)
    parameters = dict(base.named_parameters())
    before, answer = {name: p.clone() for name, p in parameters.items()}, output(base, world)
    for weights in ([0.5, -0.2, 0.7], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]):
        with applied(base, blend_of(world.adapters, weights)):
            pass
        after = dict(base.named_parameters())
        assert list(after) == list(before)
        assert all(after[name] is parameters[name] and torch.equal(after[name], before[name]) for name in after)
        assert all(parameter.requires_grad for parameter in after.values())
        assert torch.equal(output(base, world), answer)
    assert not hasattr(base, "peft_config")


def test_the_base_is_itself_again_after_an_error_within(world):
    base = fresh(world)
    answer = output(base, world)
    with pytest.raises(RuntimeError, match="in the middle"), applied(base, blend_of(world.adapters, [1.0, 1.0, -1.0])):
        raise RuntimeError("in the middle")
    assert torch.equal(output(base, world), answer)


def test_all_weights_zero_is_the_base_exactly(world):
    base = fresh(world)
    answer = output(base, world)
    with applied(base, blend_of(world.adapters, [0.0, 0.0, 0.0])) as model:
        assert torch.equal(output(model, world), answer)


def test_a_module_saved_in_full_is_used_within_and_gone_afterwards(world, tmp_path: Path):
    config = LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["classifier"], init_lora_weights=False)
    trained = get_peft_model(fresh(world), config).eval()
    with torch.no_grad():
        trained.base_model.model.classifier.modules_to_save["default"].bias.add_(3.0)
    trained.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    base = fresh(world)
    classifier, answer = base.classifier, output(base, world)
    with applied(base, blend_of([tmp_path / "adapter"], [1.0])) as model:
        torch.testing.assert_close(output(model, world), output(trained, world))
    assert base.classifier is classifier
    assert torch.equal(output(base, world), answer)


def test_a_blend_for_another_model_is_refused_and_leaves_no_trace(world):
    base = fresh(world)
    answer = output(base, world)
    blend = blend_of(world.adapters, [1.0, 0.0, 0.0])
    renamed = {key.replace("layers.0", "layers.9"): tensor for key, tensor in blend.tensors.items()}
    with pytest.raises(ValueError, match="no place for"), applied(base, replace(blend, tensors=renamed)):
        pass
    assert torch.equal(output(base, world), answer)


def test_modules_of_the_same_short_name_elsewhere_are_left_alone(world, tmp_path: Path):
    class Two(torch.nn.Module):  # wide enough for PEFT to keep the factors
        def __init__(self) -> None:
            super().__init__()
            self.encoder = torch.nn.ModuleDict({"lin": torch.nn.Linear(64, 64)})
            self.decoder = torch.nn.ModuleDict({"lin": torch.nn.Linear(64, 64)})

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.decoder["lin"](self.encoder["lin"](x))

    torch.manual_seed(0)
    base = Two()
    config = LoraConfig(r=2, target_modules=r"encoder\.lin", init_lora_weights=False)
    with torch.no_grad():
        expected_model = get_peft_model(base, config)
        expected_model.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
        expected = expected_model.eval()(torch.ones(1, 64))
        fresh_base = expected_model.unload()
        with applied(fresh_base, blend_of([tmp_path / "adapter"], [1.0])) as model:
            torch.testing.assert_close(model(torch.ones(1, 64)), expected)
            assert not hasattr(model.base_model.model.decoder["lin"], "lora_A")
