"""What an audit runs on a worker: many weights on one reference's samples, set in place on the resident model."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from flows.work import worker_device
from tasks.audit.measuring import Need
from tasks.evaluation.examiners.setting import Setting
from tasks.evaluation.job import Bootstrap, EvaluationJob
from tasks.library.snapshot import Reference


@dataclass(frozen=True, slots=True)
class AuditWork:
    """All that is asked of one reference's samples; `references` are those whose adapters the needs name."""

    on: str
    needs: tuple[Need, ...]
    references: tuple[Reference, ...]
    setting: Setting
    bootstrap: Bootstrap
    threads: int


def work_on(on: str, needs: Sequence[Need], known: dict[str, Reference], setting: Setting, threads: int) -> AuditWork:
    """The work for one reference's samples."""
    names = sorted({name for need in needs for name, _ in need.weights}) or [on]
    # The audit keeps single values and takes its own intervals over them, paired.
    bootstrap = Bootstrap(resamples=1, level=0.5, seed=0)
    return AuditWork(on, tuple(needs), tuple(known[name] for name in names), setting, bootstrap, threads)


def prepare_to_audit() -> None:
    """Import on a worker what an audit needs there: seconds, that pass while the flow still plans."""
    import tasks.evaluation.evaluate  # noqa: F401


def audit_on_worker(work: AuditWork) -> dict[str, np.ndarray]:
    """Values (n,) of the primary metric by need, higher is better. No file is written."""
    import torch

    from tasks.evaluation.evaluate import evaluate_target
    from tasks.evaluation.scores import Direction

    torch.set_num_threads(work.threads)
    names = [reference.name for reference in work.references]
    asked = {need.key: dict(need.weights) for need in work.needs}
    found = evaluate_target(
        EvaluationJob(
            target=work.on,
            setting=replace(work.setting, device=worker_device()),
            adapters=tuple(reference.adapter for reference in work.references),
            weights={key: tuple(weights.get(name, 0.0) for name in names) for key, weights in asked.items()},
            whole={},
            controlled=None,
            draws=1,
            bootstrap=work.bootstrap,
        )
    )
    primary = found.primary
    higher = next(iter(found.scores.values()))[primary].direction is Direction.HIGHER
    return {key: (1 if higher else -1) * values[primary] for key, values in found.values.items()}
