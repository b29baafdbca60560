"""What an audit costs: blends set in place on the resident model against bare evaluation of as many single adapters.

    python -m tests.benchmarks.audit_cost --json --domains-cache DIR [--domain NAME ...] [--seed 0] [--references 3]

Both sides run in this process, alternating, on one thread, with the base loaded and warm. Ours is what a worker of the
audit runs for one reference: every rule's distinct blend of all others, scored. The peer loads as many single adapters
with PEFT, one at a time, and scores each. CPU seconds, medians over references.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from peft import PeftModel

from flows.audit_settings import AuditSettings
from tasks.audit.measuring import named_weights
from tasks.evaluation.applied import kept
from tasks.evaluation.evaluate import Bootstrap, EvaluationJob, evaluate_target
from tasks.evaluation.examiners.opening import open_examiner
from tests.benchmarks.audit_cases import weighed
from tests.benchmarks.audit_domains import place_of
from tests.benchmarks.audit_scoring import setting_of
from tests.benchmarks.domain.units import Place, make_prototypes

Blends = dict[str, tuple[float, ...]]


def _ours(place: Place, on: str, names: tuple[str, ...], blends: Blends) -> None:
    evaluate_target(
        EvaluationJob(
            target=on,
            setting=setting_of(place, on),
            adapters=tuple(place.adapter(name) for name in names),
            weights=blends,
            whole={},
            controlled=None,
            draws=1,
            bootstrap=Bootstrap(resamples=1, level=0.5, seed=0),
        )
    )


def _bare(place: Place, on: str, names: tuple[str, ...], count: int) -> None:
    examiner = open_examiner(setting_of(place, on))
    for number in range(count):
        with kept(examiner.base):
            path = place.adapter(names[number % len(names)])
            examiner.examine(PeftModel.from_pretrained(examiner.base, path).eval())


def _seconds(work: object, *arguments: object) -> float:
    start = time.process_time()
    work(*arguments)  # type: ignore[operator]
    return time.process_time() - start


def measure(place: Place, references: int, how: AuditSettings) -> dict[str, object]:
    """CPU seconds a blend and a single adapter, and their ratio."""
    library = make_prototypes(place)
    rules, stage, scenes, look = weighed(library, how)
    ours, bare, counts = [], [], []
    for row in range(references):
        on, names = stage.names[row], tuple(name for name in stage.names if name != stage.names[row])
        named = {rule.name: named_weights(stage, scenes, look.weights[rule.name], row) for rule in rules}
        distinct = {tuple(sorted(one.items())): rule for rule, one in named.items() if one}
        blends = {rule: tuple(named[rule].get(name, 0.0) for name in names) for rule in distinct.values()}
        if row == 0:
            _ours(place, on, names, dict(list(blends.items())[:1]))
            _bare(place, on, names, 1)
        ours.append(_seconds(_ours, place, on, names, blends) / len(blends))
        bare.append(_seconds(_bare, place, on, names, len(blends)) / len(blends))
        counts.append(len(blends))
    ratio = statistics.median(bare) / statistics.median(ours)
    return {
        "case": f"{place.domain}, {len(stage.names) - 1} adapters, {sum(counts)} blends on {references} references",
        "ours_s": round(statistics.median(ours), 4),
        "peer": "PEFT from_pretrained and the same evaluation, one adapter at a time",
        "peer_s": round(statistics.median(bare), 4),
        "ratio": round(ratio, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="the only form there is")
    parser.add_argument("--domains-cache", type=Path, required=True)
    parser.add_argument("--domain", nargs="+", default=["segmentation", "reports", "synthesis"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--references", type=int, default=3)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    how = AuditSettings()
    for domain in asked.domain:
        found = measure(place_of(asked.domains_cache, domain, asked.seed), asked.references, how)
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
