"""The computing half of a shard; importing this imports torch."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from tasks.files import Failure
from tasks.library.families import Family
from tasks.prototypes.encode import Stream, configure_threads, direction_of
from tasks.prototypes.encoders.encoder import Encoder, modality_of
from tasks.prototypes.encoders.loading import EncoderUnavailable, resident_encoder
from tasks.prototypes.extraction import STAGE, Job
from tasks.prototypes.reading import Choose
from tasks.prototypes.settings import DescriptionPart, ExtractionSettings, Pooling, Recipe
from tasks.prototypes.statistics import Prototype, Statistics


def compute(jobs: Sequence[Job], settings: ExtractionSettings) -> tuple[list[Prototype], tuple[Failure, ...]]:
    """Prototypes of `jobs`, and the failures of those whose samples or description cannot be encoded."""
    configure_threads(settings.machine.threads)
    computed: list[Prototype] = []
    failures: list[Failure] = []
    for job, stream in _with_lookahead(jobs, settings):
        try:
            statistics = _statistics(job, stream, settings)
        except EncoderUnavailable:
            raise
        except Exception as error:  # whatever one reference's samples do, the others go on
            failures.append(Failure(job.name, STAGE, f"{type(error).__name__}: {error}", "repair or drop its samples"))
            continue
        computed.append(_prototype(job, settings.recipe, statistics))
    return computed, tuple(failures)


def _with_lookahead(jobs: Sequence[Job], settings: ExtractionSettings) -> Iterator[tuple[Job, Stream]]:
    """Each job with its stream; the next one's samples are already being read while one is encoded."""
    encoder_for = _chooser(settings.recipe, settings.machine.device)

    def opened(job: Job) -> Stream:
        sampling = settings.recipe.sampling
        return Stream(job.samples, job.description, encoder_for, machine=settings.machine, sampling=sampling)

    with ExitStack() as opened_streams:
        following = opened_streams.enter_context(closing(opened(jobs[0])))
        for position, job in enumerate(jobs):
            current = following
            if position + 1 < len(jobs):
                following = opened_streams.enter_context(closing(opened(jobs[position + 1])))
            yield job, current
            current.close()


def _chooser(recipe: Recipe, device: str) -> Choose:
    # How samples are chosen does not change the model: one copy serves a pilot and the run after it.
    model = replace(recipe, sampling=None, description=None)

    def encoder_for(columns: tuple[str, ...]) -> Encoder:
        return resident_encoder(model, modality_of(columns), device)

    return encoder_for


def _statistics(job: Job, stream: Stream, settings: ExtractionSettings) -> Statistics:
    statistics = stream.statistics()
    if not np.isfinite(statistics.standard_error):
        # Overflow in half precision, or samples far outside of what the model was made for.
        raise ValueError(f"its embeddings are not finite in {settings.recipe.dtype}; check the samples, or use float32")
    part = settings.recipe.description
    return statistics if part is None else _joined(statistics, _direction(job, part, settings), part.weight)


def _direction(job: Job, part: DescriptionPart, settings: ExtractionSettings) -> np.ndarray:
    if not job.description:
        raise ValueError("it has no description, and descriptions are a part of the prototypes; give it one")
    recipe = replace(settings.recipe, pooling=Pooling.MEAN, layers=(-1,))
    if part.encoder is not None:
        recipe = replace(recipe, encoder=part.encoder, family=Family.ENCODER)
    device = settings.machine.device
    return direction_of(job.description, _chooser(recipe, device), device=device)


def _joined(statistics: Statistics, direction: np.ndarray, weight: float) -> Statistics:
    """Statistics with the weighted direction behind every mean; it is the same for every sample, so it has no error."""
    more = (weight * direction).astype(np.float32)
    return replace(
        statistics,
        prototype=np.concatenate([statistics.prototype, more]),
        half_a=np.concatenate([statistics.half_a, more]),
        half_b=np.concatenate([statistics.half_b, more]),
        within_std=np.concatenate([statistics.within_std, np.zeros_like(more)]),
    )


def _prototype(job: Job, recipe: Recipe, statistics: Statistics) -> Prototype:
    values: dict[str, Any] = asdict(statistics)
    return Prototype(
        name=job.name,
        digest=job.digest,
        base_model=recipe.base.name,
        revision=recipe.base.revision or recipe.base.digest,
        layer=recipe.layer,
        pooling=recipe.pooling.value,
        **values,
    )
