"""The building stage: every target's adapter blended, and every method scored, on the workers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import tasks.evaluation
from flows.choosing import Choice, Choices
from flows.drawing import Drawing
from flows.frame import Frame, Scale
from flows.projecting import recipe_settings, recipe_versions
from flows.refresh import Library
from flows.report import INCUMBENT, failure_of
from flows.run import Run
from flows.settings import ProjectionSettings
from flows.tasking import opaque_task
from flows.work import TargetWork, build_target
from tasks.composition.composition import Composition
from tasks.composition.recipe import RECIPE_NAME, Recipe, recipe_of
from tasks.evaluation.examiners.setting import Setting
from tasks.evaluation.job import Bootstrap, EvaluationJob
from tasks.evaluation.methods import Scene, weights_by_method
from tasks.evaluation.score_store import read_scores
from tasks.evaluation.scores import TargetScores
from tasks.files import Failure, digest_value
from tasks.library.snapshot import Target
from tasks.prototypes.statistics import Prototype


@dataclass(frozen=True, slots=True)
class Built:
    """A target's composition with its adapter and charts on disk, and its scores where it has labelled samples."""

    composition: Composition
    recipe: Recipe
    adapter: Path
    evaluation: Path | None
    evaluation_digest: str | None
    scores: TargetScores | None
    pictures: Path
    choice: Choice | None  # the audit's, where it was asked


def _evaluation_digest(run: Run, target: Target, composition: Composition) -> str | None:
    if target.evaluation_digest is None:
        return None
    how = run.settings.evaluation.model_dump(mode="json", exclude={"batch_size", "shard_size", "feature_model"})
    judge = run.model(run.settings.evaluation.feature_model)
    own = [composition.digest, target.evaluation_digest, target.ceiling_digest]
    own += [] if judge is None else [judge.digest]
    return digest_value(["evaluation", tasks.evaluation.VERSION, *own, how])


def planned(run: Run, library: Library, target: Target, composition: Composition, choices: Choices) -> Built:
    """Where a target's results belong, with the scores that are there already."""
    how = choices.settings[target.name]
    digest = _evaluation_digest(run, target, composition)
    evaluation = run.workspace.evaluation(target.name, digest) if digest else None
    return Built(
        composition=composition,
        recipe=recipe_of(composition, library.snapshot, settings=recipe_settings(run, how), versions=recipe_versions()),
        adapter=run.workspace.adapter(target.name, composition.digest),
        evaluation=evaluation,
        evaluation_digest=digest,
        scores=read_scores(evaluation) if evaluation else None,
        pictures=pictures_of(run, composition, evaluation),
        choice=choices.audited.get(target.name),
    )


def pictures_of(run: Run, composition: Composition, evaluation: Path | None) -> Path:
    """Where a composition's charts belong: those of its scores in `evaluation`, where it has any, are among them."""
    return run.workspace.pictures(composition.target, evaluation.name if evaluation else composition.digest)


def with_scores(built: Built) -> Built:
    """The same with the scores that are there by now."""
    return replace(built, scores=read_scores(built.evaluation) if built.evaluation else None)


def is_whole(built: Built) -> bool:
    """Whether everything of a target is there that its project asks for."""
    scored = built.evaluation is None or built.scores is not None
    return (built.adapter / RECIPE_NAME).is_file() and scored and built.pictures.is_dir()


def baseline_weights(
    how: ProjectionSettings, neighbours: Sequence[Prototype], target: Prototype, scale: Scale
) -> dict[str, tuple[float, ...]]:
    """Weights of every label-free method on a neighbourhood, in the project's own frame whatever rule was chosen."""
    atoms = scale.transform(np.stack([one.prototype for one in neighbours]))
    own = scale.transform(target.prototype[None])[0]
    scene = Scene(
        atoms=atoms,
        target=own,
        squared_distances=np.square(atoms.astype(np.float64) - own).sum(axis=1),
        centre=scale.calibration.centre,
        spread=scale.calibration.spread,
    )
    weights = weights_by_method(
        scene,
        relative_penalty=how.penalty,
        relative_temperature=how.temperature,
        tolerance=how.tolerance,
    )
    return {method: tuple(float(weight) for weight in values) for method, values in weights.items()}


def _method_weights(run: Run, library: Library, frame: Frame, composition: Composition) -> dict[str, tuple[float, ...]]:
    neighbours = [library.references[near.reference] for near in composition.neighbours]
    target = library.target_prototypes[composition.target]
    return baseline_weights(run.settings.projection, neighbours, target, frame.scale)


def _job(run: Run, library: Library, frame: Frame, target: Target, built: Built) -> EvaluationJob:
    how = run.settings.evaluation
    # The adapter is scored as it is served, from its own files, truncated and rounded as the project asks.
    whole = {"chosen": built.adapter, "ceiling": target.ceiling, INCUMBENT: run.champion_adapter(target.name)}
    return EvaluationJob(
        target=target.name,
        setting=Setting(
            family=run.settings.family,
            base=library.snapshot.base,
            evaluation=str(target.evaluation),
            device="auto",
            batch_size=how.batch_size,
            shown=how.shown,
            features=run.model(how.feature_model),
        ),
        adapters=tuple(ingredient.adapter for ingredient in built.recipe.ingredients),
        weights=_method_weights(run, library, frame, built.composition),
        whole={method: path for method, path in whole.items() if path is not None},
        controlled="l1",
        draws=how.draws,
        bootstrap=Bootstrap(how.resamples, how.level, how.seed),
    )


def _work(run: Run, library: Library, frame: Frame, target: Target, built: Built) -> TargetWork:
    needs_scores = built.evaluation is not None and built.scores is None
    job = _job(run, library, frame, target, built) if needs_scores else None
    return TargetWork(built.recipe, built.adapter, job, built.evaluation, _drawing(run, built), run.workers.threads)


def _drawing(run: Run, built: Built) -> Drawing:
    composition = built.composition
    weights = {near.reference: weight for near, weight in zip(composition.neighbours, composition.weights, strict=True)}
    level = run.settings.evaluation.level
    return Drawing(composition.target, weights, composition.coverage, built.evaluation, level, built.pictures)


@opaque_task("blend and evaluate")
def build_shard(run: Run, shard: Sequence[TargetWork], advance: Callable[[int], None]) -> tuple[Failure, ...]:
    """Blend and evaluate a shard of targets on the workers; each target fails alone."""
    tries = run.settings.cluster.attempts
    futures = [run.workers.client.submit(build_target, work, pure=False, retries=tries - 1) for work in shard]
    failures = []
    for work, future in zip(shard, futures, strict=True):
        error = future.exception()
        if error is not None:
            failures.append(failure_of(work.recipe.target, "blend and evaluate", error))
        advance(1)
    return tuple(failures)


def build_targets(run: Run, library: Library, frame: Frame, plans: Mapping[str, Built]) -> tuple[Failure, ...]:
    """Make what is missing of every planned target; `frame` is the project's own, which all methods are compared in."""
    targets = {target.name: target for target in library.targets}
    work = [_work(run, library, frame, targets[name], built) for name, built in plans.items() if not is_whole(built)]
    size = run.settings.evaluation.shard_size
    with run.stages.stage("targets", len(work)) as advance:
        shards = [work[start : start + size] for start in range(0, len(work), size)]
        running = [build_shard.submit(run, shard, advance) for shard in shards]
        failures: list[Failure] = []
        for shard, future in zip(shards, running, strict=True):
            outcome = future.result(raise_on_failure=False)
            if isinstance(outcome, BaseException):
                failures += [failure_of(item.recipe.target, "blend and evaluate", outcome) for item in shard]
            else:
                failures += outcome
    return tuple(failures)
