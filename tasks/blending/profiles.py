"""How a blend presents itself to the programs that load it."""

from collections.abc import Sequence
from typing import Any

from tasks.blending.adapter import Adapter


def portable_config(
    adapters: Sequence[Adapter],
    modules: Sequence[str],
    rank: int,
    *,
    base_model_name: str,
    revision: str | None,
) -> dict[str, Any]:
    """The portable adapter_config.json: one rank, r == alpha, no patterns, so that every loader scales by one."""
    raws = [adapter.config.raw for adapter in adapters]
    saved = sorted({name for adapter in adapters for name in adapter.config.modules_to_save})
    return {
        "peft_type": "LORA",
        "task_type": _common([raw.get("task_type") for raw in raws]),
        "base_model_name_or_path": base_model_name,
        "revision": revision,
        "r": rank,
        "lora_alpha": rank,
        "target_modules": sorted({_target(module) for module in modules}),
        "rank_pattern": {},
        "alpha_pattern": {},
        "use_rslora": False,
        "use_dora": False,
        "lora_bias": False,
        "bias": "none",
        "lora_dropout": 0.0,
        "fan_in_fan_out": any(adapter.config.fan_in_fan_out for adapter in adapters),
        "modules_to_save": saved or None,
        "init_lora_weights": True,
        "inference_mode": True,
    }


def _common(values: Sequence[Any]) -> Any:
    return values[0] if all(value == values[0] for value in values) else None


def _target(module: str) -> str:
    # The last name part, as servers want it; a numeric one (a child of nn.Sequential) would match too much.
    suffix = module.rpartition(".")[2]
    return module if suffix.isdigit() else suffix
