"""The refresh flow against the bare extractor, and against itself when little has changed.

`python -m tests.benchmarks.refresh --json` prints one JSON object a line. `flow`: the command `refresh` through Prefect
and Dask on two workers, against two plain processes that extract half of the references each; both from the start of
their processes to their end, model loading included. `incremental`: a second refresh of a library of which ten
references have changed, against the first, both as commands; `flow_s` is the flow alone, without the start and end of
its Prefect server, `peak_mb` the largest resident size of any process of the command.
"""

import argparse
import json
import os
import resource
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from tasks.library.families import Family
from tasks.prototypes.extraction import Job, extract_shard
from tasks.prototypes.settings import ExtractionSettings, Machine
from tasks.prototypes.shards import balanced_shards
from tests.benchmarks.commands import seconds_of_processes, tesserae
from tests.benchmarks.prototypes import MAX_TOKENS, TOKEN_BUDGET, save_model, texts
from tests.library.projects import random_rows, save_adapter, save_base, save_samples
from tests.prototypes.recipes import recipe_for

WORKERS = 2


def write_project(root: Path, family: str, **prototypes: Any) -> None:
    """project.yaml of a library by glob, with its first reference's samples as the one target."""
    first = sorted((root / "library").iterdir())[0]
    settings = {
        "base_model": "base",
        "family": family,
        "library": "library/*",
        "targets": [{"name": "target", "samples": str(first / "samples.parquet")}],
        "prototypes": prototypes,
        "cluster": {"kind": "local", "workers": WORKERS},
    }
    (root / "project.yaml").write_text(yaml.safe_dump(settings))


def text_library(root: Path, references: int, each: int) -> None:
    """References of `each` texts of the report domain's lengths on the benchmark's Llama."""
    sample = texts()
    save_model(root / "base", sample)
    adapted = get_peft_model(
        AutoModelForCausalLM.from_pretrained(root / "base"), LoraConfig(r=2, target_modules=["q_proj"])
    )
    adapted.save_pretrained(str(root / "adapter"))
    rng = np.random.default_rng(1)
    for number in range(references):
        folder = root / "library" / f"r{number:04d}"
        shutil.copytree(root / "adapter", folder / "adapter")
        pq.write_table(pa.table({"text": rng.choice(sample, each).tolist()}), folder / "samples.parquet")


def bare(settings: ExtractionSettings, shards: Sequence[Sequence[Job]], directory: Path) -> None:
    """What one plain worker process does."""
    for shard in shards:
        extract_shard(shard, settings, directory)


def flow_case(root: Path, references: int, each: int) -> dict[str, Any]:
    """The whole flow against plain processes."""
    text_library(root, references, each)
    write_project(root, "causal-lm", max_tokens=MAX_TOKENS, token_budget=TOKEN_BUDGET)
    recipe = replace(recipe_for(root / "base", family=Family.CAUSAL_LM), max_tokens=MAX_TOKENS)
    settings = ExtractionSettings(recipe, Machine("cpu", 1, TOKEN_BUDGET, 1024))
    folders = sorted((root / "library").iterdir())
    jobs = [Job(folder.name, folder.name, str(folder / "samples.parquet")) for folder in folders]
    shards = balanced_shards(jobs, size=50, workers=WORKERS)
    bare_s = seconds_of_processes(bare, [(settings, shards[rank::WORKERS], root / "bare") for rank in range(WORKERS)])
    report, whole_s = tesserae("refresh", root)
    case = f"flow, {references} references on {WORKERS} workers"
    return line(
        case,
        report["seconds"],
        "plain processes",
        bare_s,
        command_s=round(whole_s, 2),
        computed=report["prototypes_computed"],
    )


def incremental_case(root: Path, references: int) -> dict[str, Any]:
    """Ten changed references of many."""
    save_base(root)
    save_adapter(root / "adapter")
    for number in range(references):
        folder = root / "library" / f"r{number:05d}"
        shutil.copytree(root / "adapter", folder / "adapter")
        save_samples(folder / "samples.parquet", random_rows(4, number))
    write_project(root, "encoder")
    _, first_s = tesserae("refresh", root)
    for number in range(5, references, references // 10):
        save_samples(root / "library" / f"r{number:05d}" / "samples.parquet", random_rows(4, references + number))
    report, second_s = tesserae("refresh", root)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000
    case = f"incremental, 10 of {references} changed"
    more = {"flow_s": round(report["seconds"], 2), "peak_mb": round(peak), "computed": report["prototypes_computed"]}
    return line(case, second_s, "first refresh", first_s, **more)


def line(case: str, ours_s: float, peer: str, peer_s: float, **more: Any) -> dict[str, Any]:
    """One output line of the contract."""
    found = {"case": case, "ours_s": round(ours_s, 2), "peer": peer, "peer_s": round(peer_s, 2)}
    return found | {"ratio": round(peer_s / ours_s, 3), "floor_s": None, "error": None} | more


def main() -> None:
    """Run the cases and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object a line (the only form there is)")
    parser.add_argument("--case", choices=["flow", "incremental", "both"], default="both")
    parser.add_argument("--references", type=int, default=None, help="default: 200 for flow, 10000 for incremental")
    parser.add_argument("--texts", type=int, default=100, help="texts of a reference of the flow case")
    arguments = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    if arguments.case != "incremental":
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(flow_case(Path(folder), arguments.references or 200, arguments.texts)), flush=True)
    if arguments.case != "flow":
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(incremental_case(Path(folder), arguments.references or 10_000)), flush=True)


if __name__ == "__main__":
    main()
