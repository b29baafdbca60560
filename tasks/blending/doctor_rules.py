"""The one table of what each loader demands of an adapter directory. A rule returns what it found, or None.

Sources: V vllm-project/vllm, SG sgl-project/sglang, LX predibase/lorax (and TGI, which shares the code),
P huggingface/peft, D huggingface/diffusers; paths are of the files that the rule was read from.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from tasks.blending.completion import completed
from tasks.blending.consumers import Consumer
from tasks.blending.doctor_facts import COMPONENTS, Facts
from tasks.blending.factors import Layout
from tasks.blending.key_names import Factor, FactorBias, Magnitude

SERVERS = (Consumer.VLLM, Consumer.SGLANG, Consumer.LORAX)
WITH_CONFIG = (Consumer.PEFT, *SERVERS)
ALL = (*WITH_CONFIG, Consumer.DIFFUSERS)

_VLLM_LARGEST_RANK = 512  # V vllm/config/lora.py: the largest legal max_lora_rank
_REBLEND = "blend it alone with weight 1: tesserae blend --adapter DIR=1 --out OUT (portable profile)"


@dataclass(frozen=True, slots=True)
class Rule:
    """A demand: its name, who makes it, where that is written, the check, and what to do where it fails."""

    name: str
    consumers: tuple[Consumer, ...]
    source: str
    check: Callable[[Facts], str | None]
    remedy: str


def _config_readable(facts: Facts) -> str | None:
    return facts.config_fault


def _weights_readable(facts: Facts) -> str | None:
    return facts.weights_fault or (None if facts.shapes else "the file holds no tensors")


def _is_lora(facts: Facts) -> str | None:
    found = facts.config.get("peft_type")
    return None if found == "LORA" else f"peft_type is {found!r}"


def _required_keys(facts: Facts) -> str | None:
    missing = [key for key in ("r", "lora_alpha", "target_modules") if facts.config.get(key) in (None, [], "")]
    return f"{', '.join(missing)} missing" if missing else None


def _rank_positive(facts: Facts) -> str | None:
    rank = facts.config.get("r")
    return None if isinstance(rank, int) and rank > 0 else f"r is {rank!r}"


def _targets_listed(facts: Facts) -> str | None:
    found = facts.config.get("target_modules")
    good = isinstance(found, list) or found in ("all", "all-linear")
    return None if good else f"target_modules is {found!r}"


def _factor_names(facts: Facts) -> str | None:
    foreign = [n for n, key in facts.keys.items() if not isinstance(key, Factor) and ".base_layer." not in n]
    return f"tensor {foreign[0]}" + (f" and {len(foreign) - 1} more" if foreign[1:] else "") if foreign else None


def _complete_pairs(facts: Facts) -> str | None:
    odd = sorted(set(facts.factors("A")) ^ set(facts.factors("B")))
    return f"module {odd[0]} has one factor only" if odd else None


def _plain(facts: Facts) -> str | None:
    dora = facts.config.get("use_dora") or any(isinstance(key, Magnitude) for key in facts.keys.values())
    return "DoRA" if dora else None


def _no_bias(facts: Facts) -> str | None:
    bias = facts.config.get("bias", "none")
    if bias not in ("none", None):
        return f"bias={bias!r}"
    has = facts.config.get("lora_bias") or any(isinstance(key, FactorBias) for key in facts.keys.values())
    return "lora_bias" if has else None


def _no_heads(facts: Facts) -> str | None:
    if facts.config.get("modules_to_save"):
        return f"modules_to_save is {facts.config['modules_to_save']}"
    return f"parameter {facts.whole()[0]} is saved whole" if facts.whole() else None


def _no_patterns(facts: Facts) -> str | None:
    found = [key for key in ("rank_pattern", "alpha_pattern") if facts.config.get(key)]
    return f"{' and '.join(found)} set" if found else None


def _uniform_rank(facts: Facts) -> str | None:
    ranks = set(facts.ranks().values()) | {facts.config.get("r")}
    return f"ranks {sorted(map(str, ranks))}" if len(ranks) > 1 else None


def _rank_served(facts: Facts) -> str | None:
    largest = max(facts.ranks().values(), default=0)
    return f"rank {largest} is above {_VLLM_LARGEST_RANK}" if largest > _VLLM_LARGEST_RANK else None


def _no_rslora(facts: Facts) -> str | None:
    return "use_rslora is true" if facts.config.get("use_rslora") else None


def _matrices(facts: Facts) -> str | None:
    odd = [module for module, shape in facts.factors("A").items() if len(shape) != 2]
    return f"module {odd[0]} is a convolution" if odd else None


def _no_embeddings(facts: Facts) -> str | None:
    found = [key.module for key in facts.keys.values() if isinstance(key, Factor) and key.embedding]
    return f"module {found[0]} is an embedding" if found else None


def _base_named(facts: Facts) -> str | None:
    name = facts.config.get("base_model_name_or_path")
    return None if isinstance(name, str) and name else f"base_model_name_or_path is {name!r}"


def _missing(facts: Facts, *, families: bool) -> str | None:
    linear = {m: s for m, s in facts.factors("A").items() if len(s) == 2}
    outs = facts.factors("B")
    layouts = {m: Layout((s[1],), outs[m][0], (), embedding=False) for m, s in linear.items() if outs.get(m)}
    every, unknown = completed(layouts, {})
    absent = [name for name in sorted(set(every) - set(layouts) | set(unknown))]
    own = {module.rpartition(".")[2] for module in layouts}
    chosen = [name for name in absent if (name.rpartition(".")[2] not in own) == families]
    return f"{chosen[0]}" + (f" and {len(chosen) - 1} more" if chosen[1:] else "") + " missing" if chosen else None


def _every_layer(facts: Facts) -> str | None:
    return _missing(facts, families=False)


def _whole_families(facts: Facts) -> str | None:
    return _missing(facts, families=True)


def _config_agrees(facts: Facts) -> str | None:
    if facts.config.get("rank_pattern"):
        return None  # resolved by loading; the table compares the plain case
    odd = {module: rank for module, rank in facts.ranks().items() if rank != facts.config.get("r")}
    first = next(iter(odd.items()), None)
    return None if first is None else f"module {first[0]} has rank {first[1]} and the config r={facts.config.get('r')}"


def _components(facts: Facts) -> str | None:
    odd = [name for name in facts.shapes if not name.startswith((*(f"{part}." for part in COMPONENTS), "lora_"))]
    return f"tensor {odd[0]} has no pipeline component" if odd else None


def _image_names(facts: Facts) -> str | None:
    known = re.compile(
        r"lora_(A|B)\.weight$|\.(down|up)\.weight$|lora_(down|up)\.weight$|\.alpha$|lora_magnitude_vector"
    )
    odd = [name for name in facts.shapes if not known.search(name)]
    return f"tensor {odd[0]}" if odd else None


_SAVE_AGAIN = "save the adapter again with peft's save_pretrained"

RULES: tuple[Rule, ...] = (
    Rule("adapter_config.json is readable", WITH_CONFIG, "V vllm/lora config reader", _config_readable, _SAVE_AGAIN),
    Rule("weights are readable", ALL, "V vllm/lora/lora_model.py", _weights_readable, _SAVE_AGAIN),
    Rule("it is LoRA", WITH_CONFIG, "V vllm/plugins/lora_resolvers/filesystem_resolver.py", _is_lora,
         "convert it to LoRA (peft's convert_to_lora)"),
    Rule("r, lora_alpha and target_modules are set", SERVERS, "V vllm/lora config reader; SG lora/lora_config.py",
         _required_keys, "complete adapter_config.json"),
    Rule("r is positive", WITH_CONFIG, "V vllm#48437; P tuners/lora/layer.py", _rank_positive, "correct r"),
    Rule("tensors have the config's ranks", (Consumer.PEFT,), "P utils/save_and_load.py", _config_agrees, _REBLEND),
    Rule("target_modules is a list", (Consumer.SGLANG,), "SG srt/lora/utils.py", _targets_listed, _REBLEND),
    Rule("every factor has its partner", ALL, "P utils/save_and_load.py", _complete_pairs, _SAVE_AGAIN),
    Rule("only LoRA factors", SERVERS, "V vllm/lora/utils.py parse_fine_tuned_lora_name", _factor_names,
         "train without modules_to_save, DoRA and bias"),
    Rule("no DoRA", SERVERS, "V vllm/lora config reader", _plain,
         "convert it: tesserae blend --base BASE --adapter DIR=1"),
    Rule("no bias", SERVERS, "V vllm/lora config reader", _no_bias, "train with bias='none' and lora_bias=False"),
    Rule("no modules_to_save", SERVERS, "V vllm#9280", _no_heads,
         "train without modules_to_save, or serve the merged model"),
    Rule("one rank and alpha for all modules", SERVERS, "V vllm-omni#6565; LX lora.py", _no_patterns, _REBLEND),
    Rule("all tensors have rank r", SERVERS, "LX adapters/lora.py; V lora_weights.py", _uniform_rank, _REBLEND),
    Rule("the rank can be served", (Consumer.VLLM,), "V vllm/config/lora.py", _rank_served,
         "truncate it: tesserae blend --rank 64 (and start vLLM with --max-lora-rank of at least that)"),
    Rule("no rank-stabilised scale", (Consumer.SGLANG,), "SG sglang#40835: ignored", _no_rslora, _REBLEND),
    Rule("no convolutions", SERVERS, "V vllm/lora/layers; LX adapters/lora.py", _matrices,
         "serve it with peft or diffusers"),
    Rule("no embeddings", (Consumer.LORAX,), "LX adapters/lora.py", _no_embeddings, "train without embedding layers"),
    Rule("the base model is named", (Consumer.VLLM,), "V lora_resolvers/filesystem_resolver.py", _base_named,
         "set base_model_name_or_path to the served model's name: tesserae blend --base-model NAME"),
    Rule("every layer of a module type is there", (Consumer.LORAX,), "LX lora.py load()", _every_layer, _REBLEND),
    Rule("q, k, v and gate, up are together", (Consumer.SGLANG,), "SG srt/lora/lora.py", _whole_families,
         f"{_REBLEND}; add --base BASE where only q is adapted"),
    Rule("names begin with a pipeline component", (Consumer.DIFFUSERS,), "D loaders/lora_base.py", _components,
         "load it into the model itself with peft, or export it from the pipeline"),
    Rule("names are diffusers' or kohya's", (Consumer.DIFFUSERS,), "D loaders/lora_conversion_utils.py", _image_names,
         "export a plain LoRA"),
)  # fmt: skip
