"""Score every method on one target: one base model, one evaluation set, one blend; only the weights differ."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from tasks.blending.adapter import Adapter
from tasks.blending.blend import Blend
from tasks.blending.exact import blend_exact
from tasks.blending.memory import resident, stored_bytes
from tasks.blending.peft_files import read_adapter
from tasks.evaluation.applied import applied
from tasks.evaluation.controls import norm_matched, permuted_weights, random_control
from tasks.evaluation.examiners.examiner import Examiner
from tasks.evaluation.examiners.opening import open_examiner
from tasks.evaluation.intervals import mean_intervals
from tasks.evaluation.job import Bootstrap, EvaluationJob
from tasks.evaluation.scores import Examination, Score, Shown, TargetScores
from tasks.files import digest_value

RANDOM, PERMUTED = "random", "permuted"
RESIDENT = 1 << 30  # bytes of adapters kept in memory while one target is scored; larger ones are read for each blend


def evaluate_target(job: EvaluationJob) -> TargetScores:
    """Scores of every method, with intervals. Runs on a worker, whose base model stays loaded between targets.

    Raises InvalidInput for an adapter or an evaluation set that cannot be used.
    """
    examiner = open_examiner(job.setting)
    examined: dict[str, list[Examination]] = {}
    for method, blend in _blends(job):
        with applied(examiner.base, blend) as model:
            examined.setdefault(method, []).append(examiner.examine(model))
    values = {method: _mean_values(runs) for method, runs in examined.items()}
    return TargetScores(
        target=job.target,
        primary=examiner.metrics[0].name,
        scores=scores_of(examiner, values, job.bootstrap),
        values=values,
        shown=_shown(examiner, examined),
    )


def _blends(job: EvaluationJob) -> Iterator[tuple[str, Blend]]:
    """Every method's blend, one in memory at a time; a control appears once per draw."""
    adapters = _read_once([read_adapter(directory) for directory in job.adapters])
    for method, weights in job.weights.items():
        yield method, _blend(job, adapters, weights)
    if job.controlled is not None:
        yield from _controls(job, adapters, job.weights[job.controlled])
    for method, directory in job.whole.items():
        yield method, _blend(job, [read_adapter(directory)], [1.0])


def _read_once(adapters: Sequence[Adapter]) -> Sequence[Adapter]:
    """The adapters in memory, where they fit there all at once: each method blends most of them again."""
    small = sum(stored_bytes(adapter) for adapter in adapters) <= RESIDENT
    return [resident(adapter) for adapter in adapters] if small else adapters


def _controls(job: EvaluationJob, adapters: Sequence[Adapter], weights: Sequence[float]) -> Iterator[tuple[str, Blend]]:
    reference = _blend(job, adapters, weights)
    # The target's name is in the seed: one unlucky permutation must not be every target's.
    generator = np.random.default_rng([job.bootstrap.seed, int(digest_value(job.target)[:8], 16)])
    for _ in range(job.draws):
        yield RANDOM, random_control(reference, int(generator.integers(1 << 31)))
        yield PERMUTED, norm_matched(_blend(job, adapters, permuted_weights(weights, generator)), reference)


def _blend(job: EvaluationJob, adapters: Sequence[Adapter], weights: Sequence[float]) -> Blend:
    base = job.setting.base
    return blend_exact(adapters, weights, base_model_name=base.name, revision=base.revision)


def _mean_values(runs: Sequence[Examination]) -> dict[str, np.ndarray]:
    """Values of each sample, averaged over the draws of a control."""
    return {metric: np.mean([run.values[metric] for run in runs], axis=0) for metric in runs[0].values}


def scores_of(
    examiner: Examiner, values: Mapping[str, Mapping[str, np.ndarray]], how: Bootstrap
) -> dict[str, dict[str, Score]]:
    """Means with intervals of the samples' values[method][metric], (n,); all methods on the same resamples."""
    scores: dict[str, dict[str, Score]] = {method: {} for method in values}
    for metric in examiner.metrics:
        stacked = np.stack([values[method][metric.name] for method in values])
        intervals = mean_intervals(stacked, resamples=how.resamples, level=how.level, seed=how.seed)
        for method, found in zip(values, intervals, strict=True):
            scores[method][metric.name] = Score(
                found.value, found.low, found.high, stacked.shape[1], metric.direction, metric.unit
            )
    return scores


def _shown(examiner: Examiner, examined: Mapping[str, Sequence[Examination]]) -> tuple[Shown, ...]:
    return tuple(
        Shown(sample, truth, {method: runs[0].answers[index] for method, runs in examined.items()})
        for index, (sample, truth) in enumerate(examiner.shown)
    )
