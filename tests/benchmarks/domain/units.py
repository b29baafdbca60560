"""The benchmark's units of work. Each leaves one file or folder in the cache and is skipped where that is there."""

import json
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from tasks.evaluation.examiners.setting import Setting
from tasks.evaluation.limits import Limits
from tasks.examples.settling import settle
from tasks.files import atomic_directory, write_json
from tasks.library.base_model import BaseModel
from tasks.library.families import Family
from tasks.prototypes.extraction import Job, extract_shard
from tasks.prototypes.settings import ExtractionSettings, Machine, Pooling, Recipe
from tasks.prototypes.statistics import Prototype
from tasks.prototypes.store import prototypes_of
from tasks.training.job import LoraShape, Schedule, TrainingJob
from tasks.training.train import train_adapter
from tests.benchmarks.domain.bases import BASES
from tests.benchmarks.domain.peers.scored import FewShot
from tests.benchmarks.domain.scoring import Case, score
from tests.benchmarks.domain.tasks import siblings

FAMILIES = {"segmentation": Family.SEGMENTATION, "reports": Family.CAUSAL_LM, "synthesis": Family.DIFFUSION}
LIMITS = Limits(prompt=56, answer=48)
RATES = {"segmentation": 5e-3, "reports": 4e-3, "synthesis": 4e-3}
STEPS = {"segmentation": 80, "reports": 50, "synthesis": 60}
DRAWS = {"segmentation": 1, "reports": 1, "synthesis": 4}  # of each of LoraHub's examples: noise needs several levels
TARGETS = {
    "segmentation": r"vision_encoder\.layers\.\d+\.(attn\.(qkv|proj)|mlp\.(lin1|lin2))",
    "reports": None,
    "synthesis": ("to_q", "to_k", "to_v", "to_out.0", "conv1", "conv2"),
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where one domain's run with one seed is kept, and its tasks."""

    domain: str
    seed: int
    folder: Path
    names: tuple[str, ...]

    @property
    def root(self) -> Path:
        """The folder of this seed."""
        return self.folder / f"seed{self.seed}"

    def base(self) -> BaseModel:
        """The base model, identified by domain and seed."""
        return BaseModel("base", None, self.root / "base", f"{self.domain}-{self.seed}")

    def adapter(self, name: str) -> Path:
        """The adapter of a task."""
        return self.root / "adapters" / name


def make_base(place: Place) -> None:
    """Pre-train the base."""
    settle(place.seed)
    if not (place.root / "base").exists():
        with atomic_directory(place.root / "base") as temporary:
            BASES[place.domain](place.folder / "tasks", place.names, temporary, place.seed)


def training_job(place: Place, name: str) -> TrainingJob:
    """How a task's adapter is trained."""
    return TrainingJob(
        name=name,
        family=FAMILIES[place.domain],
        base=place.base(),
        samples=str(place.folder / "tasks" / name / "labelled.parquet"),
        directory=place.adapter(name),
        checkpoint=place.root / f"{name}.checkpoint",
        lora=LoraShape(rank=8, alpha=8, dropout=0.0, targets=TARGETS[place.domain]),
        schedule=Schedule(
            steps=STEPS[place.domain],
            batch_size=16 if place.domain != "reports" else 8,
            learning_rate=RATES[place.domain],
            weight_decay=0.0,
            clip=1.0,
            warmup=0.1,
            validation=0.1,
            validate_every=10,
            patience=1000,
            checkpoint_every=1000,
        ),
        seed=place.seed,
        device="cpu",
        limits=LIMITS,
    )


def make_adapter(place: Place, name: str) -> None:
    """Fine-tune one task's adapter."""
    settle(place.seed)
    if not place.adapter(name).exists():
        train_adapter(training_job(place, name), lambda step, metrics: None)


def make_prototypes(place: Place) -> dict[str, Prototype]:
    """Prototypes of all tasks' unlabelled samples by the base's own encoder; mean over tokens or positions."""
    settle(place.seed)
    base = place.base()
    recipe = Recipe(base, base, FAMILIES[place.domain], Pooling.MEAN, (-1,), LIMITS.prompt, "float32", False)
    jobs = [
        Job(name, f"{base.digest}-{name}", str(place.folder / "tasks" / name / "samples.parquet"))
        for name in place.names
    ]
    machine = Machine(device="cpu", threads=1, token_budget=8192, window_rows=1024)
    report = extract_shard(jobs, ExtractionSettings(recipe, machine), place.root / "prototypes")
    if report.failures or report.part is None:
        raise RuntimeError(f"prototypes failed: {report.failures}")
    return {prototype.name: prototype for prototype in prototypes_of(pq.read_table(report.part))}


def scores_path(place: Place, name: str, without_siblings: bool) -> Path:
    """Where a unit's result is kept."""
    return place.root / "scores" / f"{name}{'-x' if without_siblings else ''}.json"


def setting_of(place: Place, name: str) -> Setting:
    """How a task of the domains benchmark is scored."""
    samples = str(place.folder / "tasks" / name / "evaluation.parquet")
    family = FAMILIES[place.domain]
    return Setting(family, place.base(), samples, device="cpu", batch_size=32, shown=0, limits=LIMITS)


def make_scores(place: Place, name: str, without_siblings: bool, prototypes: dict[str, Prototype]) -> Path:
    """Every method on one task with its own adapter left out of the library, and its siblings' too if so asked."""
    settle(place.seed)
    path = scores_path(place, name, without_siblings)
    if path.exists():
        return path
    left_out = {name} | (siblings(name, place.names) if without_siblings else set())
    case = Case(
        domain=place.domain,
        seed=place.seed,
        target=name,
        setting=setting_of(place, name),
        library={other: place.adapter(other) for other in place.names if other not in left_out},
        ceiling=place.adapter(name),
        without_siblings=without_siblings,
        # Peers cost as much as all methods together, so they are measured on the full library alone.
        few_shot=None if without_siblings else FewShot(training_job(place, name), DRAWS[place.domain]),
    )
    # Each reference alone tells whether nearer ones transfer better; it is costly, so one seed and the full library.
    write_json(path, score(case, prototypes, each_alone=not without_siblings and place.seed == 0))
    return path


def read_scores(path: Path) -> dict:
    """A unit's result."""
    return dict(json.loads(path.read_text(encoding="utf-8")))
