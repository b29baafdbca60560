"""Real loading into a stand-in for the base model: modules of the right shapes whose weights take no memory."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
from peft.utils import load_peft_weights
from torch import nn

from tasks.blending.diffusers_files import component, read_diffusers
from tasks.blending.doctor_facts import Facts
from tasks.blending.key_names import Factor
from tasks.files import InvalidInput

_CONVOLUTIONS: dict[int, Any] = {3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}


def stand_in(facts: Facts) -> nn.Module:
    """A module tree with every adapted module, shapes taken from the factors."""
    root = nn.Module()
    a, b = facts.factors("A"), facts.factors("B")
    embeddings = {key.module for key in facts.keys.values() if isinstance(key, Factor) and key.embedding}
    for module in sorted(a):
        _place(root, module.split("."), _layer(a[module], b[module][0], embedding=module in embeddings))
    for parameter in facts.whole():
        owner, _, name = parameter.rpartition(".")
        holder = _place(root, owner.split("."), nn.Module())
        shape = next(facts.shapes[key] for key in facts.shapes if key.endswith(parameter))
        holder.register_parameter(name, _weightless(shape))
    return root


def _weightless(shape: tuple[int, ...]) -> nn.Parameter:
    return nn.Parameter(torch.zeros(()).expand(shape), requires_grad=False)


def _layer(a: tuple[int, ...], out: int, *, embedding: bool) -> nn.Module:
    with torch.device("meta"):
        if embedding:
            layer: nn.Module = nn.Embedding(a[1], out)
        elif len(a) == 2:
            layer = nn.Linear(a[1], out, bias=False)
        else:
            layer = _CONVOLUTIONS[len(a)](a[1], out, kernel_size=a[2:], bias=False)
    layer.register_parameter("weight", _weightless(tuple(layer.get_parameter("weight").shape)))
    return layer


def _place(root: nn.Module, path: list[str], layer: nn.Module) -> nn.Module:
    for part in path[:-1]:
        if not hasattr(root, part):
            root.add_module(part, nn.Module())
        root = getattr(root, part)
    if not hasattr(root, path[-1]):
        root.add_module(path[-1], layer)
    return getattr(root, path[-1])


def try_peft(directory: Path, facts: Facts) -> str | None:
    """Load the config and weights by PEFT; what it raises, or the names that it did not find."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            config = LoraConfig.from_pretrained(str(directory))
            # A base-changing initialisation would work on the stand-in's weights, which mean nothing.
            config.init_lora_weights = True
            model = get_peft_model(stand_in(facts), config)
            result: Any = set_peft_model_state_dict(model, load_peft_weights(str(directory), device="cpu"))
    except (RuntimeError, ValueError, TypeError, KeyError, AttributeError, NotImplementedError, OSError) as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0][:300]}"
    missing = [name for name in result.missing_keys if "lora_" in name]
    if missing or result.unexpected_keys:
        return f"names not matched: {', '.join((missing + list(result.unexpected_keys))[:3])}"
    return None


def try_diffusers(directory: Path, facts: Facts) -> str | None:
    """Load each component by diffusers' own mixin; what it raises, or what the file reader found."""
    from diffusers.loaders.peft import PeftAdapterMixin

    class StandIn(nn.Module, PeftAdapterMixin):
        """The least that the mixin asks of a model."""

    try:
        whole = read_diffusers(directory / "pytorch_lora_weights.safetensors", base_modules={})
        for part in sorted({module.partition(".")[0] for module in whole.modules}):
            model = StandIn()
            cut = component(whole, part)
            for name, module in cut.modules.items():
                a = (module.rank, *module.layout.a_tail)
                _place(model, name.split("."), _layer(a, module.layout.out, embedding=False))
            model.load_lora_adapter(_component_tensors(cut.modules), prefix=None, adapter_name="trial")
    except InvalidInput as error:
        return error.problems[0].problem
    except (RuntimeError, ValueError, TypeError, KeyError, AttributeError, NotImplementedError, OSError) as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0][:300]}"
    return None


def _component_tensors(modules: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    pairs = {f"{name}.lora_A.weight": module.a.read() for name, module in modules.items()}
    return pairs | {f"{name}.lora_B.weight": module.b.read() for name, module in modules.items()}
