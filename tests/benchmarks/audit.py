"""Every fixed rule against the audited choice on targets that neither the audit nor its model has seen.

    python -m tests.benchmarks.audit --json --seeds 0 1 2
    python -m tests.benchmarks.audit --json --domains-cache DIR [--domain NAME ...] [--without-siblings] --seeds 0 1 2

For each seed the digits example is made, its prototypes are computed, its six references are audited, and all rules are
scored on its ten targets. One JSON object a line: mean gain over the base of every rule and of the audited choice.

With `--domains-cache`, the cache of `tests.benchmarks.domains`, every real task is a target once: its library is all
others, and that library's audit has never seen it. Scores are kept below `--cache`; an interrupted run goes on.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from flows.audit_settings import AuditSettings
from flows.services import prefect_server
from flows.settings import load_project
from tests.benchmarks.commands import tesserae


def _gains(run: Any, library: Any, decisions: Any, how: AuditSettings) -> dict[str, np.ndarray]:
    """Gain of every rule, of the audited choice and of the targets' own adapters over the base, by target."""
    from flows.auditing import rules_of, transforms_of
    from tasks.audit.features import Record
    from tasks.audit.looking import look_at
    from tasks.audit.scenes import stage_of, target_scenes
    from tasks.evaluation.evaluate import Bootstrap, EvaluationJob, evaluate_target
    from tasks.evaluation.examiners.setting import Setting

    stage, rules = stage_of(library.references), rules_of(how)
    names = list(library.target_prototypes)
    scenes = target_scenes(stage, list(library.target_prototypes.values()), neighbours=32)
    transforms = transforms_of(library.references, how)
    look = look_at(rules, stage, scenes, transforms, Record({}, {}), tolerance=1e-6)
    adapters = {one.name: one.adapter for one in library.snapshot.references}
    targets = {one.name: one for one in library.targets}
    gains: dict[str, list[float]] = {}
    for row, name in enumerate(names):
        setting = Setting(run.settings.family, library.snapshot.base, targets[name].evaluation, "cpu", 200, 0)
        scores = evaluate_target(
            EvaluationJob(
                target=name,
                setting=setting,
                adapters=tuple(adapters[stage.names[index]] for index in scenes.indices[row]),
                weights={rule: tuple(map(float, weights[row])) for rule, weights in look.weights.items()},
                whole={"ceiling": targets[name].ceiling},
                controlled=None,
                draws=1,
                bootstrap=Bootstrap(resamples=1, level=0.5, seed=0),
            )
        )
        means = {rule: float(values[scores.primary].mean()) for rule, values in scores.values.items()}
        means["audited"] = means[decisions[row].choice.rule.name]
        for rule, value in means.items():
            gains.setdefault(rule, []).append(value - means["base"])
    return {rule: np.array(values) for rule, values in gains.items()}


def _measured(project: Path, how: AuditSettings) -> Mapping[str, Any]:
    from flows.audit import audit_library
    from flows.auditing import policy_of, rules_of, transforms_of
    from flows.refresh import refresh_library
    from flows.run import open_run
    from tasks.audit.deciding import decide
    from tasks.audit.store import read_results

    with open_run(project) as run:
        library = refresh_library(run)
        audited = audit_library(run, library, how)
        decisions = decide(
            list(library.target_prototypes.values()),
            library.references,
            read_results(run.workspace.audit),
            rules_of(how),
            transforms_of(library.references, how),
            policy=policy_of(how),
            used=how.features,
            neighbours=32,
            tolerance=1e-6,
        )
        gains = _gains(run, library, decisions, how)
    kept = [gains["audited"][i] >= one.choice.expectation.worst for i, one in enumerate(decisions)]
    return {
        "mean_gain": {rule: round(float(values.mean()), 4) for rule, values in gains.items()},
        "lowest_gain": round(float(gains["audited"].min()), 4),
        "chosen": {one.target: one.choice.rule.name for one in decisions},
        "worst_kept": float(np.mean(kept)),
        "scored": audited["scored"],
        "correlations": audited["correlations"],
    }


def _one(project: Path, how: AuditSettings) -> None:
    with prefect_server(load_project(project).workspace, scheduling=False, ahead=partial(import_module, "flows.audit")):
        from prefect import flow

        print(json.dumps(flow(name="benchmark audit")(_measured)(project, how)))


def _digits(seed: int, features: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        tesserae("example", project, "--domain", "digits", "--seed", seed)
        again = [
            sys.executable,
            "-m",
            "tests.benchmarks.audit",
            "--json",
            "--project",
            str(project),
            "--features",
            *features,
        ]
        done = subprocess.run(again, check=True, capture_output=True, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        print(json.dumps({"case": f"digits seed {seed}", **found}), flush=True)


def _domains(asked: argparse.Namespace) -> None:
    import torch

    from flows.auditing import policy_of
    from tests.benchmarks.audit_domains import place_of, unit_of
    from tests.benchmarks.audit_summary import correlations, printed, rows_of, summary

    torch.set_num_threads(1)
    how = AuditSettings(penalties=(0.03, 0.1, 0.3), preparations=("raw",), features=tuple(asked.features))
    for domain in asked.domain:
        seeds = []
        for seed in asked.seeds:
            place = place_of(asked.domains_cache, domain, seed)
            unit = unit_of(place, asked.cache, how, without_siblings=asked.without_siblings)
            seeds.append(rows_of(unit, policy_of(how), used=how.features))
            printed(summary(f"{domain} seed {seed}", seeds[-1:]))
            if not asked.without_siblings:
                printed({"case": f"{domain} seed {seed}, 1-to-1", **correlations(unit)})
        printed(summary(domain, seeds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="the only form there is")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--project", type=Path, help="audit this project instead of making the example")
    parser.add_argument("--domains-cache", type=Path, help="audit real tasks, from what tests.benchmarks.domains left")
    parser.add_argument("--domain", nargs="+", default=["segmentation", "reports", "synthesis"])
    parser.add_argument("--without-siblings", action="store_true", help="no target has a sibling in its library")
    usual = list(AuditSettings().features)
    parser.add_argument("--features", nargs="+", default=usual, help="of the gain model; those of the settings")
    parser.add_argument("--cache", type=Path, default=Path("audit-cache"))
    asked = parser.parse_args()
    if asked.project:
        _one(asked.project, AuditSettings(features=tuple(asked.features)))
    elif asked.domains_cache:
        _domains(asked)
    else:
        for seed in asked.seeds:
            _digits(seed, asked.features)


if __name__ == "__main__":
    main()
