"""How a blend presents itself to the programs that load it: which modules, at which ranks, under which config."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.blending.adapter import Adapter
from tasks.blending.completion import completed
from tasks.blending.factors import Layout
from tasks.blending.key_names import Naming


@dataclass(frozen=True, slots=True)
class Portable:
    """Loads everywhere: one rank, r == alpha, no patterns, missing modules filled with zeros.

    `base_shapes` maps the base model's modules to (out, in) for those that no adapter has; it may be empty.
    """

    base_shapes: Mapping[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Compact:
    """Smallest files, for PEFT: each module at its own rank, through anchored and escaped patterns."""


Profile = Portable | Compact


@dataclass(frozen=True, slots=True)
class Arrangement:
    """Config, layout and rank of every module in the file; `rank` is the largest, `unknown` could not be filled."""

    naming: Naming
    config: dict[str, Any]
    layouts: Mapping[str, Layout]
    ranks: Mapping[str, int]
    rank: int
    unknown: tuple[str, ...]

    def keys(self, module: str) -> tuple[str, str]:
        """Names of the module's two tensors."""
        a, b = self.layouts[module].suffixes
        return self.naming.key(module, a), self.naming.key(module, b)


def arrange(
    profile: Profile,
    adapters: Sequence[Adapter],
    layouts: Mapping[str, Layout],
    ranks: Mapping[str, int],
    *,
    heads: bool,
    base_model_name: str,
    revision: str | None,
) -> Arrangement:
    """Lay out a blend whose modules need at least `ranks`; the scale is one. `heads`: it has whole parameters too."""
    rank, naming = max(ranks.values()), adapters[0].naming
    common = _common_config(adapters, heads=heads, base_model_name=base_model_name, revision=revision)
    match profile:
        case Portable(base_shapes):
            every, unknown = completed(layouts, base_shapes)
            config = common | {
                "r": rank,
                "lora_alpha": rank,
                "target_modules": sorted({_target(name) for name in every}),
            }
            return Arrangement(naming, config, every, dict.fromkeys(every, rank), rank, unknown)
        case Compact():
            return Arrangement(naming, common | _patterns(ranks), layouts, ranks, rank, ())


def _patterns(ranks: Mapping[str, int]) -> dict[str, Any]:
    usual = Counter(ranks.values()).most_common(1)[0][0]
    # PEFT takes pattern keys as regular expressions on a name's tail: anchored and escaped they mean one module.
    others = {f"^{re.escape(name)}": rank for name, rank in ranks.items() if rank != usual}
    return {
        "r": usual,
        "lora_alpha": usual,
        "rank_pattern": others,
        "alpha_pattern": dict(others),
        "target_modules": sorted(ranks),
    }


def _common_config(
    adapters: Sequence[Adapter], *, heads: bool, base_model_name: str, revision: str | None
) -> dict[str, Any]:
    raws = [adapter.config.raw for adapter in adapters]
    saved = sorted({name for adapter in adapters for name in adapter.config.modules_to_save})
    return {
        "peft_type": "LORA",
        "task_type": _common([raw.get("task_type") for raw in raws]),
        "base_model_name_or_path": base_model_name,
        "revision": revision,
        "rank_pattern": {},
        "alpha_pattern": {},
        "use_rslora": False,
        "use_dora": False,
        "lora_bias": False,
        "bias": "none",
        "lora_dropout": 0.0,
        "fan_in_fan_out": any(adapter.config.fan_in_fan_out for adapter in adapters),
        "modules_to_save": saved or None if heads else None,
        "init_lora_weights": True,
        "inference_mode": True,
    }


def _common(values: Sequence[Any]) -> Any:
    return values[0] if all(value == values[0] for value in values) else None


def _target(module: str) -> str:
    # The last name part, as servers want it; a numeric one (a child of nn.Sequential) would match too much.
    suffix = module.rpartition(".")[2]
    return module if suffix.isdigit() else suffix
