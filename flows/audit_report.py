"""The audit's report: how each rule did on references it had not seen, and what that says about the library."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from flows.audit_settings import AuditSettings
from flows.auditing import Plan, policy_of
from flows.refresh import Library
from flows.report import finite
from tasks.audit.choice import Choice, backtest
from tasks.audit.deciding import evidence_from
from tasks.audit.findings import (
    Pair,
    correlation,
    greedy_cover,
    harmful,
    near_but_opposed,
    near_duplicates,
    recovered_share,
    verdict,
)
from tasks.audit.measuring import Scores
from tasks.audit.rules import BASE
from tasks.audit.store import Result
from tasks.audit.trials import Kind

RESAMPLES, LEVEL = 1000, 0.95  # of every interval in the report
NEAR = 0.5  # prototypes nearer than this part of the spread's root are called near
ALIKE = 0.9  # an adapter that gives this share of another's gain could stand in for it
COVER = 10  # references named in the cover


def _pairs(plan: Plan, library: Library, scores: Scores) -> list[Pair]:
    """Single references on others' samples, with the cosine of their deltas."""
    from tasks.audit.deltas import DeltaCosines
    from tasks.blending.peft_files import read_adapter

    adapters = {one.name: one.adapter for one in library.snapshot.references}
    cosines = DeltaCosines(lambda name: read_adapter(adapters[name], name=name))
    rows = {name: row for row, name in enumerate(plan.stage.names)}
    scale = math.sqrt(plan.stage.spread) or 1.0
    pairs = []
    for need in plan.transfers:
        base, own = plan.needs.base(need.on).key, plan.needs.own(need.on).key
        if not {need.key, base, own} <= scores.keys():
            continue
        (source, _) = need.weights[0]
        offset = plan.stage.matrix[rows[source]].astype(np.float64) - plan.stage.matrix[rows[need.on]]
        pairs.append(
            Pair(
                source=source,
                on=need.on,
                distance=float(np.linalg.norm(offset)) / scale,
                cosine=cosines.between(source, need.on),
                transfer=float(scores[need.key].mean() - scores[base].mean()),
                ceiling=float(scores[own].mean() - scores[base].mean()),
            )
        )
    return pairs


def _correlations(pairs: Sequence[Pair], seed: int) -> dict[str, Any]:
    nearness, cosine = [-p.distance for p in pairs], [p.cosine for p in pairs]
    transfer = [p.transfer for p in pairs]
    asked = {
        "nearness and transfer": (nearness, transfer),
        "nearness and delta similarity": (nearness, cosine),
        "delta similarity and transfer": (cosine, transfer),
    }
    return {
        name: finite(asdict(correlation(pairs, x, y, resamples=RESAMPLES, level=LEVEL, seed=seed)))
        for name, (x, y) in asked.items()
    }


def _rules(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Every rule's mean gain on references left out and on pools, best on the former first."""
    table = []
    for rule in sorted({one.rule for one in results}):
        own = [one for one in results if one.rule == rule]
        alone = [one.gain for one in own if one.trial.kind is Kind.LEFT_OUT]
        pools = [one.gain for one in own if one.trial.kind is not Kind.LEFT_OUT]
        means = [float(np.mean(values)) if values else None for values in (alone, pools)]
        table.append({"rule": rule, "left_out": means[0], "pools": means[1], "trials": len(own)})
    return sorted(table, key=lambda row: (-(row["left_out"] or 0.0), row["rule"]))


def _chosen(results: Sequence[Result], plan: Plan, how: AuditSettings) -> dict[str, tuple[Choice, float]]:
    """What each left-out reference would have been given by an audit without it, and what that gained."""
    evidence = evidence_from(results, plan.rules, used=how.features)
    if not evidence:
        return {}
    gains = {(one.trial.name, one.rule): one.gain for one in results if one.trial.kind is Kind.LEFT_OUT}
    choices = backtest(plan.rules, evidence, policy_of(how))
    first = next(iter(evidence.values()))
    out = {}
    for choice, real, members in zip(choices, first.real, first.members, strict=True):
        if real:
            (name,) = members
            out[name] = (choice, 0.0 if choice.rule == BASE else gains[name, choice.rule.name])
    return out


def _shares(plan: Plan, chosen: Mapping[str, tuple[Choice, float]], scores: Scores, seed: int) -> list[dict[str, Any]]:
    rows = {trial.name: row for row, trial in enumerate(plan.trials) if trial.kind is Kind.LEFT_OUT}
    shares = []
    for name, (choice, _) in sorted(chosen.items()):
        needs = plan.asked[choice.rule.name][rows[name]] if name in rows else None
        base, own = plan.needs.base(name).key, plan.needs.own(name).key
        if needs is None or not {needs[0].key, base, own} <= scores.keys():
            continue
        values = scores[needs[0].key], scores[own], scores[base]
        share = recovered_share(name, *values, resamples=RESAMPLES, level=LEVEL, seed=seed)
        if share is not None:
            shares.append({**asdict(share), "rule": choice.rule.name})
    return shares


def _verdict(chosen: Mapping[str, tuple[Choice, float]], pairs: Sequence[Pair], confidence: float) -> dict[str, Any]:
    found = verdict([None if choice.rule == BASE else gain for choice, gain in chosen.values()], confidence=confidence)
    lost = sorted({pair.on for pair in pairs if pair.ceiling <= 0})
    return {**finite(asdict(found)), "gains_nothing_from_its_own_adapter": lost}


def library_report(
    plan: Plan, library: Library, scores: Scores, results: Sequence[Result], how: AuditSettings
) -> dict[str, Any]:
    """Everything an audit says, as one JSON object."""
    pairs, chosen = _pairs(plan, library, scores), _chosen(results, plan, how)
    own = {pair.on: pair.ceiling for pair in pairs}
    gains = [gain for _, gain in chosen.values()]
    return {
        "verdict": _verdict(chosen, pairs, how.confidence),
        "rules": _rules(results),
        "audited": {
            "mean_gain": float(np.mean(gains)) if gains else None,
            "choices": {name: {"rule": c.rule.name, "gain": g, "reason": c.reason} for name, (c, g) in chosen.items()},
        },
        "correlations": _correlations(pairs, how.seed),
        "recovered": _shares(plan, chosen, scores, how.seed),
        "near_but_opposed": [asdict(pair) for pair in near_but_opposed(pairs, within=NEAR)],
        "near_duplicates": [asdict(pair) for pair in near_duplicates(pairs, within=NEAR, share=ALIKE)],
        "harmful": harmful(pairs, least=2),
        "cover": [{"reference": name, "served": share} for name, share in greedy_cover(pairs, own, most=COVER)],
    }
