"""The project file: every default of the product stands here once, and an unknown key is an error.

`project.yaml` needs `base_model`, `family`, `library` and `targets`; everything else has the defaults below.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from flows.audit_settings import AuditSettings
from flows.blend import ElementType, ProfileName
from flows.cluster_settings import ClusterSettings, LocalCluster
from flows.strict import Frozen
from tasks.files import InvalidInput, Problem
from tasks.library.families import Family
from tasks.prototypes.settings import Pooling

Share = Annotated[float, Field(ge=0, le=1)]
Source = str | list[dict[str, Any]]  # a directory glob, a manifest file, or the entries themselves


class VariantName(StrEnum):
    """Constraint set of the projection; `affine` is Eq. 5 of arXiv 2410.09908."""

    AFFINE = "affine"
    FREE = "free"
    NONNEGATIVE = "nonnegative"
    SIMPLEX = "simplex"
    REFIT = "refit"


class RuleName(StrEnum):
    """What gives the weights: an audit's choice for each target, or one rule for all of them.

    `audited` is `projection` until there is an audit, and where the audit leaves the base model alone.
    """

    AUDITED = "audited"
    PROJECTION = "projection"
    SIMILARITY = "similarity"
    UNIFORM = "uniform"
    NEAREST = "nearest"


class PreparationName(StrEnum):
    """What is done to prototypes before distances are taken."""

    RAW = "raw"
    CENTRED = "centred"
    STANDARDISED = "standardised"
    UNIT = "unit"
    STANDARDISED_UNIT = "standardised unit"
    WHITENED = "whitened"


class Scope(StrEnum):
    """Over which references an l1 projection is optimal: the retrieved neighbours, or the whole library."""

    NEIGHBOURHOOD = "neighbourhood"
    LIBRARY = "library"


class PrototypeSettings(Frozen):
    """How tasks are described."""

    layers: tuple[int, ...] = (-1,)  # hidden states of the base encoder whose embeddings are averaged; -1 is the last
    pooling: Pooling = Pooling.MEAN  # `map` keeps positions apart: it beat `mean` in 7 of 10 digit designs
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    encoder: str | None = None  # another model to encode with; None: the base model itself
    # A seeded random choice of that many, or `auto`: as many as it takes to tell references apart; None: all of them.
    max_samples: PositiveInt | Literal["auto"] | None = None
    first_samples: Annotated[int, Field(ge=2)] = 32  # auto: before the first look; then twice as many each time
    # auto: the standard error to reach, as a share of the distance between references; its square is what it adds to
    # squared distances, so a quarter changes them by six percent.
    error_share: PositiveFloat = 0.25
    seed: int = 0  # of that choice
    description_weight: NonNegativeFloat = 0.0  # length at which a description's embedding joins; 0 leaves it out
    description_encoder: str | None = None  # the model that reads descriptions; None: the encoder, where it reads text
    max_tokens: PositiveInt = 512  # a longer text is cut
    token_budget: PositiveInt | None = None  # tokens in one forward pass, padding included; None: by the device
    window_rows: PositiveInt = 4096  # samples read ahead and sorted by length together
    shard_size: PositiveInt = 64  # references in one Prefect task; a shard should last 10 s or more


class TrainingSettings(Frozen):
    """How `tesserae train` makes an adapter for a reference that has none."""

    rank: PositiveInt = 16
    alpha: PositiveFloat = 16.0
    dropout: Share = 0.0
    modules: tuple[str, ...] | None = None  # None: the usual ones of the family
    steps: PositiveInt = 500
    batch_size: PositiveInt = 16
    learning_rate: PositiveFloat = 1e-3
    weight_decay: NonNegativeFloat = 0.0
    clip: PositiveFloat = 1.0  # largest gradient norm
    warmup: Share = 0.05  # of the steps
    validation: Share = 0.1  # of the rows, held out for early stopping
    validate_every: PositiveInt = 50  # steps
    patience: PositiveInt = 5  # looks without a better held-out loss before training stops
    checkpoint_every: PositiveInt = 50  # steps
    seed: int = 0


class ProjectionSettings(Frozen):
    """How a target's prototype is written as a combination of references."""

    rule: RuleName = RuleName.AUDITED
    variant: VariantName = VariantName.AFFINE
    preparation: PreparationName = PreparationName.RAW
    neighbours: PositiveInt = 32
    exact: Scope = Scope.NEIGHBOURHOOD  # `library` prices every reference: what retrieval would have lost comes in
    penalty: NonNegativeFloat = 0.05  # l1 strength as a fraction of the library's spread; .03 to .1 is a plateau
    tolerance: PositiveFloat = 1e-6  # largest relative duality gap that counts as solved
    temperature: PositiveFloat = 0.25  # of the similarity softmax, as a fraction of the library's spread
    # The library's centre and spread are kept until the spread has moved by this factor, so that one changed
    # reference does not recompute every composition. It stays inside the penalty's plateau.
    recalibrate_beyond: Annotated[float, Field(gt=1)] = 1.5

    @model_validator(mode="after")
    def _has_an_optimum(self) -> "ProjectionSettings":
        if self.exact is Scope.LIBRARY and self.variant is VariantName.REFIT:
            raise ValueError("refit knows neighbourhoods only; with `exact: library` take another variant")
        return self


class BlendingSettings(Frozen):
    """How adapters become one. Without `rank` and `energy` the blend is exact: ranks add up."""

    rank: PositiveInt | None = None  # the best adapter of that rank
    energy: Annotated[float, Field(gt=0, le=1)] | None = None  # the smallest rank that keeps that share of the norm
    profile: ProfileName = ProfileName.PORTABLE  # `compact` is smaller, and for PEFT alone
    dtype: ElementType = ElementType.FLOAT32  # an exact blend needs float32 to stay exact

    @model_validator(mode="after")
    def _one_truncation(self) -> "BlendingSettings":
        if self.rank is not None and self.energy is not None:
            raise ValueError("rank and energy are two ways to truncate; give one of them")
        return self


class EvaluationSettings(Frozen):
    """How methods are compared where a target has labelled samples."""

    batch_size: PositiveInt = 64
    resamples: PositiveInt = 2000  # bootstrap resamples over samples
    level: Annotated[float, Field(gt=0, lt=1)] = 0.95
    seed: int = 0  # of the bootstrap and the random controls
    draws: PositiveInt = 3  # of each random control, averaged
    shown: PositiveInt = 6  # samples in the picture of a target
    feature_model: str | None = None  # causal-lm: an encoder, for BERTScore; diffusion: CLIP, for CLIP score and KID
    shard_size: PositiveInt = 16  # targets in one Prefect task


class RegistrySettings(Frozen):
    """Where runs and model versions go, and when a version becomes champion."""

    tracking_uri: str | None = None  # None is `sqlite:///<workspace>/mlflow.db`
    experiment: str | None = None  # None is the project directory's name
    model_prefix: str = ""
    coverage_floor: Share = 0.6  # without labels, a target the library explains worse than this is not promoted


class ScheduleSettings(Frozen):
    """When the nightly run fires."""

    cron: str = "0 2 * * *"
    timezone: str = "UTC"


class ProjectSettings(Frozen):
    """The whole of `project.yaml`."""

    base_model: str
    revision: str | None = None
    family: Family
    library: Source
    targets: Source
    aliases: tuple[str, ...] = ()  # other names under which adapters know the same base model
    trust_remote_code: Literal[False, True] = False
    workspace: str = "workspace"
    prototypes: PrototypeSettings = PrototypeSettings()
    training: TrainingSettings = TrainingSettings()
    projection: ProjectionSettings = ProjectionSettings()
    blending: BlendingSettings = BlendingSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    registry: RegistrySettings = RegistrySettings()
    audit: AuditSettings = AuditSettings()
    cluster: ClusterSettings = LocalCluster()
    schedule: ScheduleSettings = ScheduleSettings()

    @model_validator(mode="after")
    def _judged(self) -> "ProjectSettings":
        if self.evaluation.feature_model is not None and self.family not in (Family.CAUSAL_LM, Family.DIFFUSION):
            raise ValueError(f"evaluation.feature_model judges texts or images, and {self.family} models make neither")
        return self


class Project(Frozen):
    """Settings together with the places they speak of."""

    file: Path
    settings: ProjectSettings

    @property
    def root(self) -> Path:
        """Directory that the project file's relative paths start from."""
        return self.file.parent

    @property
    def workspace(self) -> Path:
        """Directory of all state."""
        return (self.root / self.settings.workspace).resolve()

    @property
    def name(self) -> str:
        """Name of the project's experiment."""
        return self.settings.registry.experiment or self.root.name

    def model_name(self, target: str) -> str:
        """Name of a target's registered model."""
        return f"{self.settings.registry.model_prefix}{target}"

    @property
    def tracking_uri(self) -> str:
        """MLflow store of runs and models."""
        return self.settings.registry.tracking_uri or f"sqlite:///{self.workspace / 'mlflow.db'}"


def _problems(path: Path, error: ValidationError) -> list[Problem]:
    known = ", ".join(ProjectSettings.model_fields)
    remedies = {
        "extra_forbidden": f"remove the key or correct its spelling (top level keys: {known})",
        "missing": "add the key",
    }
    problems = []
    for detail in error.errors():
        where = ".".join(str(part) for part in detail["loc"])
        if detail["type"] == "extra_forbidden":
            what = f"unknown key `{where}`"
        elif detail["type"] == "missing":
            what = f"the required key `{where}` is missing"
        else:
            what = f"`{where}` is {detail['input']!r}: {detail['msg']}"
        problems.append(Problem(str(path), what, remedies.get(detail["type"], "give a value of that kind")))
    return problems


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise InvalidInput(Problem(str(path), f"is not YAML: {reason}", "correct the file at that line")) from error
    if not isinstance(content, dict):
        raise InvalidInput(
            Problem(str(path), f"holds {type(content).__name__}, not keys and values", "see docs/project.md")
        )
    return content


def load_project(location: Path) -> Project:
    """Read a project directory or its `project.yaml`; raises InvalidInput with every problem of the file at once."""
    path = location / "project.yaml" if location.is_dir() else location
    if not path.is_file():
        raise InvalidInput(
            Problem(
                str(path), "there is no project file", "name a directory with project.yaml, or `tesserae example DIR`"
            )
        )
    try:
        settings = ProjectSettings.model_validate(_read_yaml(path))
    except ValidationError as error:
        raise InvalidInput(*_problems(path, error)) from error
    return Project(file=path.resolve(), settings=settings)
