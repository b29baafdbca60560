"""A blend set in place on the resident base model for as long as a block lasts."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft import PeftConfig, PeftModel, get_peft_model, set_peft_model_state_dict

from tasks.blending.blend import Blend, changes_nothing, module_factors
from tasks.evaluation.folded import foldable, folded


@contextmanager
def applied(base: torch.nn.Module, blend: Blend) -> Iterator[torch.nn.Module]:
    """Yield the base model with the blend on it; afterwards the base has its own parameters again, bit for bit.

    Nothing is written to disk. PEFT carries the factors, but for heavy ones, which are folded into the weights, and for
    those that are all zero, which need nobody.
    Raises ValueError when PEFT does not take every tensor of the blend.
    """
    with kept(base):
        if changes_nothing(blend):
            yield base.eval()
        elif foldable(base, blend):
            with folded(base, module_factors(blend)):
                yield base.eval()
        else:
            yield _wrapped(base, blend)


@contextmanager
def kept(base: torch.nn.Module) -> Iterator[None]:
    """Whatever PEFT does to the base within the block is undone at its end: modules, gradients, attributes, mode."""
    modules = dict(base.named_modules())
    modes = {name: module.training for name, module in modules.items()}
    trainable = {name: parameter.requires_grad for name, parameter in base.named_parameters()}
    attributes = set(vars(base))
    try:
        yield
    finally:
        # PEFT's own `unload` would leave the adapter's copy of a module saved in full (`modules_to_save`) in place.
        for name, module in modules.items():
            if name:
                base.set_submodule(name, module)
            module.training = modes[name]
        for name, parameter in base.named_parameters():
            parameter.requires_grad_(trainable[name])
        for attribute in set(vars(base)) - attributes:
            delattr(base, attribute)


def _wrapped(base: torch.nn.Module, blend: Blend) -> PeftModel:
    config: Any = PeftConfig.from_peft_type(**dict(blend.config))
    config.base_model_name_or_path = getattr(base, "name_or_path", None)  # else PEFT warns that it puts it there itself
    # Whole names: the config's short ones, which servers want, may also fit modules that the blend does not adapt.
    config.target_modules = set(module_factors(blend))
    # Factors start on the meta device: filling them at random, only to overwrite them, costs more than loading.
    model = get_peft_model(base, config, low_cpu_mem_usage=True)
    device = next(base.parameters()).device
    tensors = {key: tensor.to(device) for key, tensor in blend.tensors.items()}
    result: Any = set_peft_model_state_dict(model, tensors, low_cpu_mem_usage=True)
    if result.unexpected_keys or any(parameter.is_meta for parameter in model.parameters()):
        raise ValueError(f"the base model has no place for {result.unexpected_keys or 'some of its modules'}")
    return model.eval()
