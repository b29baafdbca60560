"""What cannot be blended exactly without the base model: refused by name, each with its remedy."""

from collections.abc import Mapping
from typing import Any

from tasks.files import Problem

# Initialisations that change the base weights; the saved factors are relative to the changed base (peft#2184, #2186).
BASE_CHANGING_INITS = ("pissa", "olora", "corda", "loftq", "lora_ga", "pissa_init")

_CONVERT = (
    "convert it where it was trained: "
    "model.save_pretrained(DIR, path_initial_model_for_weight_conversion=INITIAL_ADAPTER)"
)


def _changes_base(init: Any) -> bool:
    return isinstance(init, str) and init.lower().startswith(BASE_CHANGING_INITS)


def config_problems(item: str, raw: Mapping[str, Any]) -> list[Problem]:
    """Every reason in an adapter_config.json why its delta is not s B A of its own factors; empty if there is none."""
    init = raw.get("init_lora_weights", True)
    found: list[tuple[bool, str, str]] = [
        (
            bool(raw.get("use_dora")),
            "DoRA: its delta depends on the norms of the base weights (peft#3761)",
            "convert it with the base weights (tesserae blend --base DIR), or train without use_dora",
        ),
        (_changes_base(init), f"initialised with {init!r}: its factors are relative to changed base weights", _CONVERT),
        (
            raw.get("bias", "none") not in ("none", None),
            f"bias={raw.get('bias')!r}: trained biases replace those of the base model",
            "train with bias='none'",
        ),
        (bool(raw.get("lora_bias")), "lora_bias: servers reject a bias on lora_B", "train with lora_bias=False"),
        (
            bool(raw.get("target_parameters")),
            "target_parameters: factors of stacked expert parameters are not supported",
            "target the expert's linear modules with target_modules",
        ),
        (
            raw.get("trainable_token_indices") is not None,
            "trainable_token_indices: trained token rows replace those of the base model",
            "train the embedding with LoRA (target_modules) instead",
        ),
        (
            raw.get("layer_replication") is not None,
            "layer_replication: the adapter belongs to a base model with repeated layers",
            "blend it only with the expanded model's adapters, saved without layer_replication",
        ),
        *((bool(raw.get(key)), f"{key}: not plain LoRA", f"train without {key}") for key in _VARIANTS),
    ]
    return [Problem(item, problem, remedy) for refused, problem, remedy in found if refused]


# PEFT variants of LoRA whose forward pass is not x -> W x + s B A x.
_VARIANTS = (
    "use_qalora",
    "use_bdlora",
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "velora_config",
    "monteclora_config",
)
