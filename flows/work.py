"""What runs on a worker for one target. Plain functions of picklable values: no Prefect, no MLflow."""

from dataclasses import dataclass, replace
from pathlib import Path

from flows.drawing import Drawing, draw
from tasks.composition.recipe import Recipe
from tasks.evaluation.job import EvaluationJob
from tasks.prototypes.extraction import Job, ShardReport, extract_shard
from tasks.prototypes.settings import ExtractionSettings, Machine
from tasks.prototypes.settings import Recipe as EncodingRecipe
from tasks.training.job import TrainingJob

# Tokens in one forward pass. A CPU wants a batch in its core's cache, a GPU enough of them to fill it; more only pads
# more (docs/benchmarks.md, Prototypes).
TOKENS_AT_ONCE = {"cpu": 1024, "cuda": 8192}


@dataclass(frozen=True, slots=True)
class ShardWork:
    """A shard of prototypes to compute, and where they go; `token_budget` None: what suits the worker's device."""

    jobs: tuple[Job, ...]
    recipe: EncodingRecipe
    threads: int
    token_budget: int | None
    window_rows: int
    directory: Path


def worker_device() -> str:
    """The accelerator of this process, asked for on the worker: the flow's process must never touch one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def extract_on_worker(work: ShardWork) -> ShardReport:
    """Compute a shard's prototypes on this worker's own device."""
    device = worker_device()
    machine = Machine(device, work.threads, work.token_budget or TOKENS_AT_ONCE[device], work.window_rows)
    return extract_shard(work.jobs, ExtractionSettings(work.recipe, machine), work.directory)


def blend_recipe(recipe: Recipe, directory: Path, *, threads: int) -> None:
    """Make the adapter that a recipe describes, with the recipe beside it; what is there already is left alone."""
    import torch

    from flows.blend import ProfileName, profile_of, recompression_of
    from tasks.blending.peft_files import read_adapter
    from tasks.blending.streaming import Job as BlendJob
    from tasks.blending.streaming import Output, check_job, stream_blends

    if directory.exists():
        return
    used = [item for item in recipe.ingredients if item.weight != 0] or list(recipe.ingredients[:1])
    adapters = {item.reference: read_adapter(item.adapter, name=item.reference) for item in used}
    job = BlendJob(
        weights={item.reference: item.weight for item in used},
        directory=directory,
        metadata={"tesserae_recipe": recipe.digest},
        recipe=recipe.as_json(),
    )
    how = recipe.settings["blending"]
    transposed = [adapter.config.fan_in_fan_out for adapter in adapters.values()]
    output = Output(
        profile=profile_of(ProfileName(how["profile"]), None, transposed),
        dtype=getattr(torch, how["dtype"]),
        base_model_name=recipe.base_model,
        revision=recipe.revision,
    )
    recompression = recompression_of(how["rank"], how["energy"])
    device = torch.device(worker_device())
    stream_blends([check_job(adapters, job)], recompression, output, spectra=True, threads=threads, device=device)


def evaluate_on_worker(job: EvaluationJob, directory: Path) -> None:
    """Score every method of a target on this worker's device, and store the result."""
    from tasks.evaluation.evaluate import evaluate_target
    from tasks.evaluation.score_store import write_scores

    placed = replace(job, setting=replace(job.setting, device=worker_device()))
    write_scores(directory, evaluate_target(placed))


@dataclass(frozen=True, slots=True)
class TargetWork:
    """What there is to do for one target: the adapter to blend, methods to score where it has labels, and charts."""

    recipe: Recipe
    adapter: Path
    job: EvaluationJob | None
    evaluation: Path | None
    drawing: Drawing
    threads: int


def build_target(work: TargetWork) -> None:
    """Blend, evaluate and draw one target; what exists already is left alone."""
    import torch

    torch.set_num_threads(work.threads)
    blend_recipe(work.recipe, work.adapter, threads=work.threads)
    if work.job is not None and work.evaluation is not None:
        evaluate_on_worker(work.job, work.evaluation)
    draw(work.drawing)


@dataclass(frozen=True, slots=True)
class Curve:
    """The training curve of one reference: (step, metrics) in order."""

    name: str
    points: tuple[tuple[int, dict[str, float]], ...]


def train_on_worker(job: TrainingJob, threads: int) -> Curve:
    """Train one adapter on this worker's device."""
    import torch

    from tasks.training.train import train_adapter

    torch.set_num_threads(threads)
    points: list[tuple[int, dict[str, float]]] = []
    train_adapter(replace(job, device=worker_device()), lambda step, metrics: points.append((step, dict(metrics))))
    return Curve(job.name, tuple(points))
