"""DoRA to LoRA, given the base weights.

DoRA (Liu et al., arXiv 2402.09353) replaces W by m (W + s B A) / |W + s B A|, norms taken per output. Its delta,
(m / |.| - 1) W + (m / |.|) s B A, has full rank in general, so that a LoRA of it is a truncation whose lost energy is
reported per module; at full rank nothing is lost.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from tasks.blending.adapter import Adapter, Held, Module, Readable, assemble
from tasks.blending.adapter_config import AdapterConfig, parse_config
from tasks.blending.factors import Layout, dense
from tasks.blending.key_names import PEFT, Magnitude, parse_key
from tasks.blending.peft_files import read_config, read_tensors
from tasks.blending.policy import config_problems
from tasks.blending.recompression import ToEnergy, ToRank
from tasks.blending.truncation import by_svd, leading, lost_energy, rank_for_energy
from tasks.files import InvalidInput, Problem

Tensor = torch.Tensor


@dataclass(frozen=True, slots=True)
class Converted:
    """A plain adapter in place of a DoRA one, and the fraction of each module's squared norm that it lacks."""

    adapter: Adapter
    lost_energy: Mapping[str, float]


def read_dora(
    directory: Path,
    base: Mapping[str, Readable],
    recompression: ToRank | ToEnergy,
    *,
    name: str | None = None,
) -> Converted:
    """Open a DoRA adapter and convert its modules; one dense matrix is in memory at a time.

    `base` holds the base model's parameters by name. Raises InvalidInput for everything that `read_adapter` refuses but
    DoRA, and for modules whose base weight is missing or of another shape.
    """
    name = name or str(directory)
    raw = read_config(directory)
    plain = {**raw, "use_dora": False} if isinstance(raw, dict) else raw
    if isinstance(plain, dict) and (problems := config_problems(name, plain)):
        raise InvalidInput(*problems)
    tensors = read_tensors(directory)
    magnitudes = {key.module: tensor for text, tensor in tensors.items() if isinstance(key := _key(text), Magnitude)}
    rest = {text: tensor for text, tensor in tensors.items() if not isinstance(_key(text), Magnitude)}
    adapter = assemble(name, parse_config(name, plain), rest)
    if problems := _base_problems(adapter, magnitudes, base):
        raise InvalidInput(*problems)
    modules, lost = dict(adapter.modules), {}
    for module, magnitude in magnitudes.items():
        weight = base[f"{module}.weight"].read()
        delta = dora_delta(adapter.modules[module], weight, magnitude.read(), adapter.config)
        modules[module], lost[module] = _truncated(delta, adapter.modules[module].layout, recompression)
    return Converted(adapter=replace(adapter, modules=modules), lost_energy=lost)


def _key(text: str) -> object:
    return parse_key(text, PEFT)


def _base_problems(adapter: Adapter, magnitudes: Mapping[str, Readable], base: Mapping[str, Readable]) -> list[Problem]:
    problems = []
    for module in magnitudes:
        key, entry = f"{module}.weight", adapter.modules.get(module)
        if entry is None:
            problems.append(Problem(adapter.name, f"module {module} has a magnitude and no factors", "save it again"))
        elif key not in base:
            problems.append(Problem(adapter.name, f"the base model has no {key}", "name the adapter's own base model"))
        elif base[key].shape not in _possible_shapes(entry.layout):
            shapes = f"{base[key].shape} and the adapter {(entry.layout.out, *entry.layout.a_tail)}"
            problems.append(Problem(adapter.name, f"{key} has shape {shapes}", "name the adapter's own base model"))
    return problems


def _possible_shapes(layout: Layout) -> tuple[tuple[int, ...], ...]:
    straight = (layout.out, *layout.a_tail)
    return (straight, straight[::-1]) if len(straight) == 2 else (straight,)


def dora_delta(module: Module, weight: Tensor, magnitude: Tensor, config: AdapterConfig) -> Tensor:
    """W' - W as a matrix (out, in), float64; the sum W + s B A is normed per row as PEFT does."""
    update = dense(module.factors(torch.float64))
    transposed = module.layout.embedding or (config.fan_in_fan_out and weight.dim() == 2)
    matrix = (weight.T if transposed else weight).double().reshape(update.shape)
    adapted = matrix + update
    scale = magnitude.double().reshape(-1) / adapted.norm(dim=1)
    return scale[:, None] * adapted - matrix


def _truncated(delta: Tensor, layout: Layout, recompression: ToRank | ToEnergy) -> tuple[Module, float]:
    every, singular = by_svd(delta)
    match recompression:
        case ToRank(rank):
            kept = min(rank, len(singular))
        case ToEnergy(share):
            kept = rank_for_energy(singular, share)
    a, b = layout.stored(leading(every, kept))
    total = float((singular**2).sum())
    lost = lost_energy(singular, kept) / total if total else 0.0
    return Module(a=Held(a), b=Held(b), layout=layout, rank=kept, scale=1.0), lost
