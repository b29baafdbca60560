"""What an adapter_config.json says, checked once; scaling per module as PEFT resolves it."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from tasks.files import InvalidInput, Problem

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class AdapterConfig:
    """The fields that decide the delta, and `raw`, the file's whole content."""

    rank: int
    alpha: float
    rslora: bool
    rank_pattern: Mapping[str, int]
    alpha_pattern: Mapping[str, float]
    fan_in_fan_out: bool
    modules_to_save: tuple[str, ...]
    raw: Mapping[str, Any]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_rank(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 31


def parse_config(item: str, raw: Any) -> AdapterConfig:
    """Check an adapter_config.json's content. Raises InvalidInput listing every fault under the name `item`."""
    if not isinstance(raw, dict):
        raise InvalidInput(Problem(item, "adapter_config.json is not an object", "save the adapter again with peft"))
    faults = [text for good, text in _checks(raw) if not good]
    if faults:
        remedy = "correct adapter_config.json or save the adapter again with peft"
        raise InvalidInput(*(Problem(item, f"adapter_config.json: {fault}", remedy) for fault in faults))
    return AdapterConfig(
        rank=raw["r"],
        alpha=float(raw["lora_alpha"]),
        rslora=bool(raw.get("use_rslora")),
        rank_pattern=dict(raw.get("rank_pattern") or {}),
        alpha_pattern=dict(raw.get("alpha_pattern") or {}),
        fan_in_fan_out=bool(raw.get("fan_in_fan_out")),
        modules_to_save=tuple(raw.get("modules_to_save") or ()),
        raw=raw,
    )


def _checks(raw: dict[str, Any]) -> list[tuple[bool, str]]:
    ranks, alphas = raw.get("rank_pattern") or {}, raw.get("alpha_pattern") or {}
    saved = raw.get("modules_to_save") or []
    return [
        (raw.get("peft_type") == "LORA", f"peft_type is {raw.get('peft_type')!r}, not LORA"),
        (_is_rank(raw.get("r")), f"r is {raw.get('r')!r}, not a positive integer"),
        (_is_number(raw.get("lora_alpha")), f"lora_alpha is {raw.get('lora_alpha')!r}, not a number"),
        (isinstance(ranks, dict) and all(map(_is_rank, ranks.values())), "rank_pattern does not map names to ranks"),
        (isinstance(alphas, dict) and all(map(_is_number, alphas.values())), "alpha_pattern does not map to numbers"),
        (isinstance(saved, list) and all(isinstance(name, str) for name in saved), "modules_to_save is not a list"),
        *(
            (_is_safe_pattern(key), f"pattern {key[:80]!r} is no regular expression that can be matched safely")
            for pattern in (ranks, alphas)
            if isinstance(pattern, dict)
            for key in pattern
        ),
    ]


_UNSAFE = re.compile(r"[*+}]\)*[*+{]|\([^()]*[*+|{][^()]*\)[*+{]")  # a repeat of a repeat can take exponential time
_PATTERN_LIMIT = 1000  # characters; a module's full name is far shorter
_REPEATS_LIMIT = 3  # matching time grows with the name's length to this power


def _is_safe_pattern(key: str) -> bool:
    repeats = sum(key.count(sign) for sign in "*+{")
    if len(key) > _PATTERN_LIMIT or repeats > _REPEATS_LIMIT or _UNSAFE.search(key):
        return False
    try:
        re.compile(key)
    except (re.error, RecursionError, OverflowError):
        return False
    return True


def _resolved(pattern: Mapping[str, T], module: str, default: T) -> T:
    # The rule of peft.utils.other.get_pattern_key: the first key, in the file's order, that matches a tail of the name.
    for key, value in pattern.items():
        if re.match(rf"(.*\.)?({key})$", module):
            return value
    return default


def rank_of(config: AdapterConfig, module: str) -> int:
    """The rank that PEFT would give the module."""
    return _resolved(config.rank_pattern, module, config.rank)


def scale_of(config: AdapterConfig, module: str) -> float:
    """Alpha / r of the module, or alpha / sqrt(r) for rank-stabilised LoRA (Kalajdzievski, arXiv 2312.03732)."""
    rank = rank_of(config, module)
    alpha = _resolved(config.alpha_pattern, module, config.alpha)
    return alpha / (math.sqrt(rank) if config.rslora else rank)
