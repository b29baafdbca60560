"""The examples, built and measured with several seeds: does composition win where its premise holds?

    python -m tests.benchmarks.examples --domain digits segmentation --seeds 0 1 2 --json [--cache DIR]

Projects and scores are cached: an interrupted run goes on. Each target is one JSON line, each domain a summary with
paired intervals over targets, seeds averaged for each.
"""

import argparse
import importlib
import json
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

from tasks.evaluation.examiners.setting import Setting
from tasks.files import DigestCache, write_json
from tasks.library.base_model import resolve_base
from tasks.library.families import Family
from tasks.prototypes.extraction import Job, extract_shard
from tasks.prototypes.settings import ExtractionSettings, Machine, Pooling, Recipe
from tasks.prototypes.store import prototypes_of
from tests.benchmarks.domain.report import summary

DOMAINS = ("digits", "segmentation", "reports", "synthesis")


def main() -> None:
    """Build, measure and print what is asked for and is not in the cache."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--domain", nargs="+", choices=DOMAINS, default=list(DOMAINS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--cache", type=Path, default=Path("examples-cache"))
    parser.add_argument("--json", action="store_true", help="one JSON object a line (the only format)")
    asked = parser.parse_args()
    for domain in asked.domain:
        units = [unit for seed in asked.seeds for unit in measured(domain, seed, asked.cache / f"{domain}-{seed}")]
        for unit in units:
            print(json.dumps(unit), flush=True)
        print(json.dumps(summary(units)), flush=True)


def measured(domain: str, seed: int, project: Path) -> list[dict[str, Any]]:
    """The units of one example: every method on each of its targets."""
    if not project.exists():
        builder = importlib.import_module(f"tasks.examples.{domain}.build")
        builder.build(project, seed=seed, progress=lambda *_: None)
    targets = [entry["name"] for entry in _settings(project)["targets"]]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=multiprocessing.get_context("spawn")) as pool:
        pool.submit(make_prototypes, project).result()
        paths = list(pool.map(make_scores, *zip(*[(domain, seed, project, name) for name in targets], strict=True)))
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def make_prototypes(project: Path) -> Path:
    """The part with the prototypes of all references and targets."""
    settings = _settings(project)
    base = resolve_base(settings["base_model"], None, project, DigestCache())
    pooling = Pooling(settings.get("prototypes", {}).get("pooling", "mean"))
    recipe = Recipe(base, base, Family(settings["family"]), pooling, (-1,), 512, "float32", False)
    jobs = [
        Job(entry["name"], entry["name"], str(project / entry["samples"]))
        for entry in [*settings["library"], *settings["targets"]]
    ]
    machine = Machine(device="cpu", threads=1, token_budget=8192, window_rows=1024)
    report = extract_shard(jobs, ExtractionSettings(recipe, machine), project / "prototypes")
    if report.failures or report.part is None:
        raise RuntimeError(f"prototypes failed: {report.failures}")
    return report.part


def make_scores(domain: str, seed: int, project: Path, name: str) -> Path:
    """Every method on one target, cached. Runs in a worker process."""
    from tasks.examples.settling import settle
    from tests.benchmarks.domain.scoring import Case, score

    settle(seed)
    path = project / "scores" / f"{name}.json"
    if path.exists():
        return path
    settings = _settings(project)
    entry = next(entry for entry in settings["targets"] if entry["name"] == name)
    base = resolve_base(settings["base_model"], None, project, DigestCache())
    case = Case(
        domain=domain,
        seed=seed,
        target=name,
        setting=Setting(
            Family(settings["family"]), base, str(project / entry["evaluation"]), device="cpu", batch_size=64, shown=0
        ),
        library={one["name"]: project / one["adapter"] for one in settings["library"]},
        ceiling=project / entry["adapter"],
        without_siblings=False,
        few_shot=None,
    )
    prototypes = {one.name: one for one in prototypes_of(pq.read_table(make_prototypes(project)))}
    write_json(path, score(case, prototypes, each_alone=False))
    return path


def _settings(project: Path) -> dict[str, Any]:
    return dict(yaml.safe_load((project / "project.yaml").read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
