"""All peers on one target, measured by the examiner that measures the methods."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.blending.peft_files import read_adapter
from tasks.evaluation.applied import kept
from tasks.evaluation.evaluate import scores_of
from tasks.evaluation.examiners.examiner import Examiner
from tasks.evaluation.examiners.opening import open_examiner
from tasks.evaluation.examiners.setting import Setting
from tasks.evaluation.job import Bootstrap
from tasks.evaluation.scores import Examination, Score
from tasks.training.job import TrainingJob
from tasks.training.learners.opening import open_learner
from tests.benchmarks.domain.peers.arrow import FAMILIES, arrow_model
from tests.benchmarks.domain.peers.lorahub import few_shot_loss, learn_weights, open_hub
from tests.benchmarks.domain.peers.merging import added, dare_delta, dense_deltas, ties_delta
from tests.benchmarks.domain.peers.names import ARROW, DARE, LORAHUB, TIES


@dataclass(frozen=True, slots=True)
class FewShot:
    """What LoraHub sees of the target: the job that its own adapter was trained by, and measurements of each row."""

    job: TrainingJob
    draws: int


def peer_scores(
    setting: Setting, few_shot: FewShot, adapters: Sequence[Path], how: Bootstrap, *, seed: int
) -> tuple[dict[str, dict[str, Score]], tuple[float, ...]]:
    """Each peer's scores by name, and LoraHub's weights on the adapters."""
    examiner = open_examiner(setting)
    weights, hub = _lorahub(examiner, few_shot, adapters, seed)
    found = {LORAHUB: hub, **dict(_merged(examiner, adapters, seed))}
    if setting.family in FAMILIES:
        with kept(examiner.base):
            found[ARROW] = examiner.examine(arrow_model(examiner.base, adapters))
    return scores_of(examiner, {name: one.values for name, one in found.items()}, how), weights


def _lorahub(
    examiner: Examiner, few_shot: FewShot, adapters: Sequence[Path], seed: int
) -> tuple[tuple[float, ...], Examination]:
    learner = open_learner(few_shot.job)
    with kept(learner.base):
        hub = open_hub(learner.base, adapters)
        loss = few_shot_loss(hub, learner, draws=few_shot.draws, seed=seed)
        weights = learn_weights(loss, len(adapters), seed=seed)
        return tuple(float(weight) for weight in weights), examiner.examine(hub.set(weights))


def _merged(examiner: Examiner, adapters: Sequence[Path], seed: int) -> Iterator[tuple[str, Examination]]:
    deltas = [dense_deltas(read_adapter(directory)) for directory in adapters]
    merges: dict[str, Callable] = {
        TIES: lambda: ties_delta(deltas),
        DARE: lambda: dare_delta(deltas, seed=seed),
    }
    for name, merge in merges.items():
        with added(examiner.base, merge()) as model:
            yield name, examiner.examine(model)
