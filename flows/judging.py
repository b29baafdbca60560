"""Whether a version is served: by labels where the target has some, else by the audit, else by coverage."""

from flows.building import Built
from flows.report import INCUMBENT
from flows.run import Run
from tasks.audit.rules import BASE
from tasks.evaluation.intervals import paired_interval
from tasks.evaluation.scores import Direction, TargetScores
from tasks.registry.promotion import Contest, Verdict, decide_by_coverage, decide_by_labels


def _contest(run: Run, scores: TargetScores, incumbent: str) -> Contest:
    metric, how = scores.primary, run.settings.evaluation
    own = scores.scores["chosen"][metric]
    sign = 1.0 if own.direction is Direction.HIGHER else -1.0
    ours, theirs = (sign * scores.values[method][metric] for method in ("chosen", incumbent))
    lead = paired_interval(ours, theirs, resamples=how.resamples, level=how.level, seed=how.seed)
    return Contest(
        metric=metric,
        challenger=own.value,
        incumbent=scores.scores[incumbent][metric].value,
        incumbent_name=incumbent,
        lead=lead.value,
        lead_low=lead.low,
        level=how.level,
    )


def verdict_of(run: Run, built: Built) -> Verdict:
    """By labels where the target has some, else by the audit's expectation, else by coverage."""
    if built.scores is not None:
        incumbents = [method for method in ("base", INCUMBENT) if method in built.scores.scores]
        return decide_by_labels([_contest(run, built.scores, method) for method in incumbents])
    if built.choice is not None:
        return Verdict(built.choice["rule"] != BASE.name, built.choice["reason"])
    return decide_by_coverage(built.composition.coverage, floor=run.settings.registry.coverage_floor)


def evidence_of(built: Built) -> str:
    """What a verdict rests on: while it stands, a registered version is not judged again."""
    if built.evaluation_digest is not None:
        return built.evaluation_digest
    return "none" if built.choice is None else f"audit: {built.choice['rule']}"
