"""What the doubly-left-out audit says of one domain: fixed rules against the audited choice, and 1-to-1 transfer."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import permutations
from typing import Any

import numpy as np

from tasks.audit.choice import Policy, choose_rules
from tasks.audit.deltas import DeltaCosines
from tasks.audit.findings import Pair, correlation
from tasks.audit.rules import BASE
from tasks.audit.scenes import stage_of
from tasks.blending.peft_files import read_adapter
from tasks.evaluation.intervals import paired_interval
from tests.benchmarks.audit_domains import Unit
from tests.benchmarks.domain.units import make_prototypes

_HOW = {"resamples": 5000, "level": 0.95, "seed": 0}
AUDITED = "audited"


@dataclass(frozen=True, slots=True)
class Row:
    """One target: gain over the base of every rule and of the audited choice, and which rule that was."""

    target: str
    rule: str
    gains: Mapping[str, float]
    headroom: float  # mean gain of the library's own adapters at home


def rows_of(unit: Unit, policy: Policy, *, used: tuple[str, ...]) -> list[Row]:
    """Every target's row."""
    rows = []
    for case in unit.cases:
        headroom = unit.headroom([trial.name for trial in case.trials])
        evidence = case.evidence(unit.scores, used=used)
        choice = choose_rules(case.rules, evidence, case.seen.views(used), policy)[0]
        gains = case.gains(unit.scores)
        rows.append(Row(case.target, choice.rule.name, {**gains, AUDITED: gains[choice.rule.name]}, headroom))
    return rows


def by_target(seeds: Sequence[Sequence[Row]], rule: str) -> np.ndarray:
    """A rule's gain for each target, seeds averaged, targets in order of name."""
    names = sorted({row.target for rows in seeds for row in rows})
    return np.array([np.mean([r.gains[rule] for rows in seeds for r in rows if r.target == name]) for name in names])


def summary(case: str, seeds: Sequence[Sequence[Row]]) -> dict[str, Any]:
    """Mean gains, the share of the best fixed rule in hindsight, and paired intervals over targets."""
    rules = list(seeds[0][0].gains)
    means = {rule: float(by_target(seeds, rule).mean()) for rule in rules}
    fixed = {rule: mean for rule, mean in means.items() if rule != AUDITED}
    best = max(fixed, key=lambda rule: fixed[rule])
    ours, base = by_target(seeds, AUDITED), by_target(seeds, BASE.name)
    return {
        "case": case,
        "seeds": len(seeds),
        "targets": len(ours),
        "headroom": _rounded(np.mean([row.headroom for rows in seeds for row in rows])),
        "mean_gain": {rule: _rounded(mean) for rule, mean in means.items()},
        "best_fixed": best,
        "share_of_best": _rounded(means[AUDITED] / fixed[best]) if fixed[best] > 0 else None,
        "audited_minus_base": _interval(ours, base),
        "audited_minus_best": _interval(ours, by_target(seeds, best)),
        "best_minus_base": _interval(by_target(seeds, best), base),
        "promoted": _rounded(np.mean([row.rule != BASE.name for rows in seeds for row in rows])),
    }


def correlations(unit: Unit) -> dict[str, Any]:
    """Spearman's rank correlations of 1-to-1 transfer over all ordered pairs of the domain's tasks."""
    prototypes, place = make_prototypes(unit.place), unit.place
    scale = math.sqrt(stage_of(prototypes).spread)
    cosines = DeltaCosines(lambda name: read_adapter(place.adapter(name)))
    base = {name: unit.mean(name, {}) for name in place.names}
    pairs = [
        Pair(
            source=source,
            on=on,
            distance=float(np.linalg.norm(prototypes[source].prototype - prototypes[on].prototype)) / scale,
            cosine=cosines.between(source, on),
            transfer=unit.mean(on, {source: 1.0}) - base[on],
            ceiling=unit.mean(on, {on: 1.0}) - base[on],
        )
        for source, on in permutations(place.names, 2)
    ]
    nearness, alike, gain = [-p.distance for p in pairs], [p.cosine for p in pairs], [p.transfer for p in pairs]
    asked = {
        "nearness and transfer": (nearness, gain),
        "nearness and delta similarity": (nearness, alike),
        "delta similarity and transfer": (alike, gain),
    }
    how = {"resamples": 1000, "level": 0.95, "seed": 0}
    return {name: asdict(correlation(pairs, x, y, **how)) for name, (x, y) in asked.items()}


def printed(value: Mapping[str, Any]) -> None:
    """One JSON object a line."""
    print(json.dumps(value), flush=True)


def _rounded(value: float) -> float:
    return round(float(value), 4)


def _interval(first: np.ndarray, second: np.ndarray) -> list[float]:
    found = paired_interval(first, second, **_HOW)
    return [_rounded(value) for value in (found.value, found.low, found.high)]
