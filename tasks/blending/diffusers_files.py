"""LoRA files of image models: kohya's flattened names, and diffusers' dotted ones, old and new.

All become one adapter whose modules carry the pipeline's component (`unet.`, `text_encoder.`); `component` cuts one out
as a PEFT adapter of that model. The scale of a module is its own alpha / r, or one where the file has no alpha.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tasks.blending.adapter import Adapter, Module, Readable, build_module, factor_fault
from tasks.blending.adapter_config import AdapterConfig, parse_config, scale_of
from tasks.blending.key_names import DIFFUSERS, PEFT
from tasks.blending.kohya_names import resolve, resolve_by_base
from tasks.blending.policy import config_problems
from tasks.blending.safetensors_file import Header, read_header
from tasks.files import InvalidInput, Problem

_KOHYA = re.compile(r"^(?P<module>lora_[^.]+)\.(?P<part>lora_down\.weight|lora_up\.weight|alpha|.+)$")
_DOTTED = re.compile(
    r"^(?P<module>.+?)(?:_lora|\.lora|\.lora_linear_layer)(?:\.(?P<old>down|up)|_(?P<new>A|B))\.weight$"
)
_ALPHA = re.compile(r"^(?P<module>.+)\.alpha$")
_PARTS = {"lora_down.weight": "A", "lora_up.weight": "B", "alpha": "alpha", "down": "A", "up": "B", "A": "A", "B": "B"}
# LyCORIS and friends: another parametrisation of the delta than two factors.
_FOREIGN = re.compile(r"hada_|lokr_|lora_mid|dora_scale|lora_magnitude_vector|\.diff(_b)?$|oft_|lora_B\.bias|norm_")
_METADATA = "lora_adapter_metadata"


def read_diffusers(path: Path, *, base_modules: Mapping[str, str], name: str | None = None) -> Adapter:
    """Open a kohya or diffusers LoRA file; only the alphas are read.

    `base_modules` (flattened name to dotted, may be empty) resolves kohya names of architectures that are not built in.
    Raises InvalidInput naming every tensor that is not understood.
    """
    name = name or str(path)
    header = read_header(path)
    modules: dict[str, dict[str, Readable]] = {}
    problems = []
    for key, tensor in header.tensors.items():
        place = _foreign(name, key) or _place(name, key, dict(base_modules))
        if isinstance(place, Problem):
            problems.append(place)
        else:
            modules.setdefault(place[0], {})[place[1]] = tensor
    configs = _metadata_configs(name, header)
    built = {}
    for module, parts in sorted(modules.items()):
        found = _built(module, parts, configs)
        if isinstance(found, Module):
            built[module] = found
        else:
            problems.append(Problem(name, f"module {module}: {found}", "export the LoRA again"))
    if not built and not problems:
        problems.append(Problem(name, "it holds no LoRA factors", "name a kohya or diffusers LoRA file"))
    if problems:
        raise InvalidInput(*problems)
    return Adapter(name=name, naming=DIFFUSERS, config=_plain_config(built), modules=built, whole={})


def _foreign(name: str, key: str) -> Problem | None:
    if not _FOREIGN.search(key):
        return None
    return Problem(
        name, f"tensor {key!r} is not plain LoRA (LoHa, LoKr, DoRA, full diff)", "extract a plain LoRA from it"
    )


def _place(name: str, key: str, base_modules: dict[str, str]) -> tuple[str, str] | Problem:
    if match := _KOHYA.match(key):
        part = _PARTS.get(match["part"])
        module = resolve_by_base(match["module"], base_modules) or resolve(match["module"])
        if module is not None and part is not None:
            return module, part
        remedy = "name the base model (--base) so that its modules resolve the name"
        return Problem(name, f"tensor {key!r} has no known module", remedy)
    if match := _DOTTED.match(key):
        return _modern(match["module"]), _PARTS[match["old"] or match["new"]]
    if match := _ALPHA.match(key):
        return _modern(match["module"].removesuffix("_lora")), "alpha"
    return Problem(name, f"tensor {key!r} is no LoRA name of kohya or diffusers", "export the LoRA again")


def _modern(module: str) -> str:
    # Old attention processors: `attn1.processor.to_out_lora` is the layer `attn1.to_out.0`; in CLIP `to_q` is `q_proj`.
    module = module.replace(".processor.", ".")
    if module.startswith("text_encoder"):
        return re.sub(r"\.to_(q|k|v|out)$", r".\1_proj", module)
    return re.sub(r"\.to_out$", ".to_out.0", module)


def _metadata_configs(name: str, header: Header) -> dict[str, AdapterConfig]:
    """The configs that diffusers stores in the header, by component; they decide the scale where there is no alpha."""
    text = header.metadata.get(_METADATA)
    if text is None:
        return {}
    try:
        content: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(Problem(name, f"its {_METADATA} is not JSON", "export the LoRA again")) from error
    configs: dict[str, dict[str, Any]] = {}
    for key, value in content.items() if isinstance(content, dict) else ():
        component, _, field = key.partition(".")
        configs.setdefault(component, {})[field] = value
    if problems := [problem for raw in configs.values() for problem in config_problems(name, raw)]:
        raise InvalidInput(*problems)
    return {component: parse_config(name, {"peft_type": "LORA", **raw}) for component, raw in configs.items()}


def _built(module: str, parts: Mapping[str, Readable], configs: Mapping[str, AdapterConfig]) -> Module | str:
    factors = {part: tensor for part, tensor in parts.items() if part != "alpha"}
    if set(factors) != {"A", "B"}:
        return f"{'down' if 'B' in factors else 'up'} weight is missing"
    if fault := factor_fault(factors):
        return fault
    component, _, rest = module.partition(".")
    rank = factors["A"].shape[0]
    if "alpha" in parts:
        alpha = parts["alpha"]
        if alpha.shape not in ((), (1,)):
            return f"alpha has shape {alpha.shape}"
        scale = float(alpha.read().double().reshape(())) / rank
    else:
        scale = scale_of(configs[component], rest) if component in configs else 1.0
    return build_module(factors["A"], factors["B"], scale=scale, embedding=False)


def _plain_config(modules: Mapping[str, Module]) -> AdapterConfig:
    rank = max((module.rank for module in modules.values()), default=1)
    return parse_config("lora", {"peft_type": "LORA", "r": rank, "lora_alpha": rank, "task_type": None})


def component(adapter: Adapter, name: str) -> Adapter:
    """One component of an image model's LoRA as a PEFT adapter. Raises InvalidInput where it has no such module."""
    prefix = f"{name}."
    modules = {key.removeprefix(prefix): value for key, value in adapter.modules.items() if key.startswith(prefix)}
    if not modules:
        present = sorted({key.partition(".")[0] for key in adapter.modules})
        raise InvalidInput(
            Problem(adapter.name, f"it has no component {name!r}", f"choose one of {', '.join(present)}")
        )
    return replace(adapter, naming=PEFT, modules=modules)
