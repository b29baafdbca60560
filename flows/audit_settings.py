"""Defaults of the audit; a section of the project file."""

from typing import Annotated

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from flows.strict import Frozen
from tasks.projection.preparation import Preparation

Confidence = Annotated[float, Field(gt=0, lt=1)]


class AuditSettings(Frozen):
    """How references are audited, and how an audit becomes a choice; what the values rest on is in docs/audit.md."""

    nightly: bool = False  # whether `tesserae nightly` audits before it composes
    references: PositiveInt = 200  # at most so many a night, the stalest first
    minutes: PositiveFloat = 60.0  # no new evaluation starts after this
    halves: NonNegativeInt = 5  # pools of each reference, left out, with a kept one
    pools: NonNegativeInt = 5  # pools of each reference with another, both kept
    transfers: PositiveInt = 5  # single references scored on each other one, from near to far
    penalties: tuple[NonNegativeFloat, ...] = (0.01, 0.03, 0.1, 0.3)
    temperatures: tuple[PositiveFloat, ...] = (0.25,)
    preparations: tuple[Preparation, ...] = (Preparation.RAW, Preparation.STANDARDISED)
    features: tuple[str, ...] = ("progress",)  # of the gain model; the others are stored beside it
    shrinkage: PositiveFloat = 0.03
    folds: Annotated[int, Field(ge=2)] = 10
    confidence: Confidence = 0.9  # of each one-sided bound
    margin: PositiveFloat = 1.5  # times the farthest trial's leverage and squared distance: the edge of what was seen
    least: NonNegativeFloat = 3.0  # left-out references that must resemble a target to judge it without pools
    floor: float = 0.02  # gain that the lower bound must pass, as a share of what the library's adapters gain at home
    tie: NonNegativeFloat = 0.01  # of the same: promises nearer than this are equal, and the safer rule wins
    seed: int = 0
