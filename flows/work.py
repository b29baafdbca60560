"""What runs on a worker for one target. Plain functions of picklable values: no Prefect, no MLflow."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.composition.recipe import RECIPE_NAME, Recipe
from tasks.files import write_json
from tasks.prototypes.extraction import Job, ShardReport, extract_shard
from tasks.prototypes.settings import ExtractionSettings, Machine
from tasks.prototypes.settings import Recipe as EncodingRecipe

if TYPE_CHECKING:
    from tasks.evaluation.evaluate import EvaluationJob  # imports torch and peft, which a quiet night never needs


@dataclass(frozen=True, slots=True)
class ShardWork:
    """A shard of prototypes to compute, and where they go."""

    jobs: tuple[Job, ...]
    recipe: EncodingRecipe
    machine: Machine
    directory: Path


def worker_device() -> str:
    """The accelerator of this process, asked for on the worker: the flow's process must never touch one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def extract_on_worker(work: ShardWork) -> ShardReport:
    """Compute a shard's prototypes on this worker's own device."""
    machine = replace(work.machine, device=worker_device())
    return extract_shard(work.jobs, ExtractionSettings(work.recipe, machine), work.directory)


def blend_recipe(recipe: Recipe, directory: Path) -> None:
    """Make the adapter that a recipe describes; the recipe beside it comes last and says that it is whole."""
    from tasks.blending.exact import blend_exact
    from tasks.blending.peft_files import read_adapter, write_adapter

    if (directory / RECIPE_NAME).is_file():
        return
    used = [ingredient for ingredient in recipe.ingredients if ingredient.weight != 0] or list(recipe.ingredients[:1])
    adapters = [replace(read_adapter(item.adapter), name=item.reference) for item in used]
    blend = blend_exact(
        adapters, [item.weight for item in used], base_model_name=recipe.base_model, revision=recipe.revision
    )
    write_adapter(blend, directory)
    shares = {module: dict(share) for module, share in blend.shares.items()}
    blended = {"rank": blend.rank, "lost_energy": blend.lost_energy, "shares": shares}
    write_json(directory / RECIPE_NAME, {**recipe.as_json(), "blend": blended})


def evaluate_on_worker(job: "EvaluationJob", directory: Path) -> None:
    """Score every method of a target on this worker's device, and store the result."""
    from tasks.evaluation.evaluate import evaluate_target
    from tasks.evaluation.score_store import write_scores

    placed = replace(job, setting=replace(job.setting, device=worker_device()))
    write_scores(directory, evaluate_target(placed))


@dataclass(frozen=True, slots=True)
class TargetWork:
    """What there is to do for one target: the adapter to blend, and the methods to score where it has labels."""

    recipe: Recipe
    adapter: Path
    job: "EvaluationJob | None"
    evaluation: Path | None
    threads: int


def build_target(work: TargetWork) -> None:
    """Blend and evaluate one target; what exists already is left alone."""
    import torch

    torch.set_num_threads(work.threads)
    blend_recipe(work.recipe, work.adapter)
    if work.job is not None and work.evaluation is not None:
        evaluate_on_worker(work.job, work.evaluation)
