"""`tesserae blend`: any LoRA adapters into one directory, base-free, with its recipe and report beside the weights."""

import math
import time
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import tasks.blending
from tasks.files import InvalidInput, Problem, digest_tree, digest_value

DEFAULT_DORA_ENERGY = 0.999  # share of a converted DoRA module's squared norm that its LoRA keeps
DEFAULT_THREADS = 2  # modules at once; each needs memory for its factors of all adapters


class ProfileName(StrEnum):
    """Who is to load the result: every server, or PEFT alone with the smallest files."""

    PORTABLE = "portable"
    COMPACT = "compact"


class ElementType(StrEnum):
    """Element type of the result; an exact blend needs float32 to stay exact."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


def blend(
    adapters: Sequence[str],
    out: Path,
    *,
    rank: int | None,
    energy: float | None,
    profile: ProfileName,
    dtype: ElementType,
    base: Path | None,
    base_model: str | None,
    revision: str | None,
    dora_energy: float,
    spectra: bool,
    threads: int,
) -> dict[str, Any]:
    """Blend `ADAPTER=WEIGHT` terms into the directory `out`.

    Exact without `rank` and `energy`. `base` (a local model directory) is only needed to convert DoRA, to resolve
    unknown kohya names and to complete modules for servers. Without `base_model` the adapters' own common base is
    written down. Without `spectra` an exact blend skips norms and effective ranks and costs what the disk does.
    Raises InvalidInput.
    """
    start = time.perf_counter()
    weights = _checked_call(adapters, out, rank=rank, energy=energy)
    # Heavy imports wait until the call is known to be sound.
    import torch

    from tasks.blending.base_weights import read_base_weights
    from tasks.blending.sources import open_source
    from tasks.blending.streaming import Output, check_job, stream_blends

    base_weights = None if base is None else read_base_weights(base)
    opened = {text: open_source(text, base=base_weights, dora_energy=dora_energy) for text in weights}
    name = base_model or _common_base({text: one.adapter.config.raw for text, one in opened.items()})
    recipe = {
        "adapters": [_term(text, weight, opened[text].path) for text, weight in weights.items()],
        "rank": rank,
        "energy": energy,
        "profile": profile.value,
        "dtype": dtype.value,
        "base_model": name,
        "revision": revision,
        "lost_by_dora_conversion": {text: dict(one.converted) for text, one in opened.items() if one.converted},
    }
    job = _job(weights, out, recipe)
    output = Output(
        profile=profile_of(profile, base_weights, [one.adapter.config.fan_in_fan_out for one in opened.values()]),
        dtype=getattr(torch, dtype.value),
        base_model_name=name,
        revision=revision,
    )
    target = check_job({text: one.adapter for text, one in opened.items()}, job)
    how = recompression_of(rank, energy)
    report = stream_blends([target], how, output, spectra=spectra, threads=threads, device=torch.device("cpu"))[0]
    return {
        "out": str(out),
        "rank": report.rank,
        "modules": len(report.modules),
        "lost_energy": report.lost_energy,
        "seconds": time.perf_counter() - start,
    }


def _term(text: str, weight: float, path: Path) -> dict[str, Any]:
    return {"adapter": text, "weight": weight, "digest": digest_tree(path)}


def _job(weights: Mapping[str, float], out: Path, recipe: Mapping[str, Any]) -> Any:
    from tasks.blending.streaming import Job

    digest = digest_value({**recipe, "blending": tasks.blending.VERSION})
    metadata = {"tesserae_recipe": digest}
    return Job(weights=weights, directory=out, metadata=metadata, recipe={**recipe, "digest": digest})


def _checked_call(adapters: Sequence[str], out: Path, *, rank: int | None, energy: float | None) -> dict[str, float]:
    problems, weights = [], {}
    for term in adapters:
        text, _, number = term.rpartition("=")
        weight = _number(number)
        if not text or weight is None:
            problems.append(Problem(term, "it is not ADAPTER=WEIGHT", "write for example adapters/a=0.7"))
        elif text in weights:
            problems.append(Problem(text, "it is given twice", "name each adapter once, with the sum of its weights"))
        else:
            weights[text] = weight
    if not adapters:
        problems.append(Problem("blend", "no adapter is given", "name at least one with --adapter ADAPTER=WEIGHT"))
    if rank is not None and energy is not None:
        problems.append(Problem("blend", "both a rank and an energy share are given", "choose one of them"))
    if rank is not None and rank < 1:
        problems.append(Problem("--rank", f"{rank} is not positive", "give a rank of at least 1"))
    if energy is not None and not 0 < energy <= 1:
        problems.append(Problem("--energy", f"{energy} is no share", "give a number above 0 and up to 1"))
    if out.exists():
        problems.append(Problem(str(out), "it exists already", "choose a directory that does not exist yet"))
    if problems:
        raise InvalidInput(*problems)
    return weights


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _common_base(configs: Mapping[str, Mapping[str, Any]]) -> str:
    names = {text: raw.get("base_model_name_or_path") for text, raw in configs.items()}
    known = {name for name in names.values() if name}
    if len(known) > 1:
        remedy = "blend adapters of one base; if it has two names, give the one to write with --base-model"
        raise InvalidInput(*(Problem(text, f"its base model is {name!r}", remedy) for text, name in names.items()))
    return known.pop() if known else ""


def profile_of(name: ProfileName, base: Mapping[str, Any] | None, transposed: Sequence[bool]) -> Any:
    """The profile of that name; the portable one completes modules where the base's weights are given."""
    from tasks.blending.base_weights import matrix_shapes
    from tasks.blending.profiles import Compact, Portable

    match name:
        case ProfileName.PORTABLE:
            return Portable(base_shapes={} if base is None else matrix_shapes(base, transposed=any(transposed)))
        case ProfileName.COMPACT:
            return Compact()


def recompression_of(rank: int | None, energy: float | None) -> Any:
    """Exact where neither is given, else truncation to a rank or to a share of the energy."""
    from tasks.blending.recompression import Exact, ToEnergy, ToRank

    if rank is not None:
        return ToRank(rank)
    return Exact() if energy is None else ToEnergy(energy)
