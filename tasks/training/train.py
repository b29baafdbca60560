"""Train one adapter on the resident base model."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict

from tasks.evaluation.applied import kept
from tasks.files import InvalidInput, Problem, atomic_directory, digest_value
from tasks.training import VERSION
from tasks.training.job import Report, TrainingJob, TrainingReport
from tasks.training.learners.learner import Learner
from tasks.training.learners.opening import open_learner
from tasks.training.progress import (
    Progress,
    Tensors,
    moments_of,
    read_progress,
    restore_moments,
    save_progress,
)
from tasks.training.rate import rate_share

_VALIDATION_SEED = 0x7E55  # of whatever is random in the held-out loss: the same at every look


def train_adapter(job: TrainingJob, report: Report) -> TrainingReport:
    """Train, or go on where an interrupted training stopped, and write the best adapter as a PEFT directory.

    Runs on a worker; the base stays loaded and is itself again afterwards. One job gives one adapter, resumed or not.
    Raises InvalidInput for rows that cannot be used.
    """
    learner = open_learner(job)
    kept_for_training, held_out = _split(job, learner.count)
    torch.manual_seed(job.seed)
    with kept(learner.base):
        model = get_peft_model(learner.base, _config(job, learner))
        done = _loop(job, learner, model, kept_for_training, held_out, report)
        set_peft_model_state_dict(model, done.best)
        _write(model, job)
    job.checkpoint.unlink(missing_ok=True)
    return TrainingReport(job.name, done.step, done.best_step, done.best_loss)


def _split(job: TrainingJob, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(training rows, held-out rows), at random; each has at least one."""
    if count < 2:
        raise InvalidInput(Problem(job.name, f"{count} labelled samples", "give two at least, better a hundred"))
    order = torch.randperm(count, generator=torch.Generator().manual_seed(job.seed))
    held_out = min(count - 1, max(1, round(job.schedule.validation * count)))
    return order[held_out:], order[:held_out]


def _config(job: TrainingJob, learner: Learner) -> LoraConfig:
    shape = job.lora
    targets = learner.targets if shape.targets is None else shape.targets
    return LoraConfig(
        r=shape.rank,
        lora_alpha=shape.alpha,  # type: ignore[arg-type]  # PEFT says int and divides
        lora_dropout=shape.dropout,
        target_modules=list(targets) if isinstance(targets, tuple) else targets,
    )


def _loop(
    job: TrainingJob,
    learner: Learner,
    model: PeftModel,
    rows: torch.Tensor,
    held_out: torch.Tensor,
    report: Report,
) -> Progress:
    how = job.schedule
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimiser = torch.optim.AdamW(list(parameters.values()), lr=how.learning_rate, weight_decay=how.weight_decay)
    state = _resumed(job, model, optimiser, parameters)
    for step in range(state.step, how.steps):
        loss = _step(job, learner, model, optimiser, rows, step)
        report(step + 1, {"loss": loss, "learning_rate": optimiser.param_groups[0]["lr"]})
        state = replace(state, step=step + 1)
        if (step + 1) % how.validate_every == 0 or step + 1 == how.steps:
            measured = _validation_loss(learner, model, held_out, how.batch_size)
            report(step + 1, {"validation_loss": measured})
            state = state.judged(step + 1, measured, _factors(model))
            if state.stale >= how.patience:
                break
        if (step + 1) % how.checkpoint_every == 0:
            moments = moments_of(optimiser, parameters)
            save_progress(replace(state, current=_factors(model), moments=moments), job.checkpoint)
    return state


def _resumed(
    job: TrainingJob,
    model: PeftModel,
    optimiser: torch.optim.AdamW,
    parameters: dict[str, torch.nn.Parameter],
) -> Progress:
    identity = _identity(job)
    saved = read_progress(job.checkpoint, identity)
    if saved is None:
        return Progress(identity, 0, 0, float("inf"), 0, _factors(model), {}, {})
    set_peft_model_state_dict(model, saved.current)
    restore_moments(optimiser, parameters, saved.moments)
    return saved


def _identity(job: TrainingJob) -> str:
    return digest_value(
        [VERSION, job.name, job.base.digest, job.samples, asdict(job.lora), asdict(job.schedule), job.seed]
    )


def _step(
    job: TrainingJob,
    learner: Learner,
    model: PeftModel,
    optimiser: torch.optim.AdamW,
    rows: torch.Tensor,
    step: int,
) -> float:
    how = job.schedule
    # All that is random in a step comes from its number: a resumed training needs no state of any generator.
    seed = int(digest_value([job.seed, step])[:12], 16)
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    for group in optimiser.param_groups:
        group["lr"] = how.learning_rate * rate_share(step, steps=how.steps, warmup=how.warmup)
    drawn = rows[torch.randint(len(rows), (how.batch_size,), generator=generator)]
    model.train()
    loss = learner.losses(model, drawn, generator).mean()
    optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], how.clip)
    optimiser.step()
    return float(loss.detach())


def _validation_loss(learner: Learner, model: PeftModel, rows: torch.Tensor, batch_size: int) -> float:
    model.eval()
    generator = torch.Generator().manual_seed(_VALIDATION_SEED)
    with torch.inference_mode():
        return float(torch.cat([learner.losses(model, part, generator) for part in rows.split(batch_size)]).mean())


def _factors(model: PeftModel) -> Tensors:
    state: Mapping[str, torch.Tensor] = get_peft_model_state_dict(model, save_embedding_layers=False)
    return {name: tensor.detach().cpu().clone() for name, tensor in state.items()}


def _write(model: PeftModel, job: TrainingJob) -> None:
    with atomic_directory(job.directory) as temporary:
        model.save_pretrained(str(temporary), save_embedding_layers=False)
        settle_config(temporary, job.base.name)


def settle_config(directory: Path, base_name: str) -> None:
    """Name the base as the project does, and sort what PEFT holds in sets: Python orders them anew in each process."""
    path = directory / "adapter_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings["base_model_name_or_path"] = base_name
    if isinstance(settings["target_modules"], list):
        settings["target_modules"].sort()
    path.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    (directory / "README.md").unlink(missing_ok=True)  # PEFT's empty model card
