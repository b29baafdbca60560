"""Units of the doubly-left-out audit on the domains benchmark's bases and adapters; scores are kept and reused."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np

from flows.audit_settings import AuditSettings
from tasks.audit.store import ScoreStore
from tests.benchmarks.audit_cases import Case, case_of
from tests.benchmarks.audit_scoring import Blended, blended, open_bench, score_all
from tests.benchmarks.domain.tasks import siblings
from tests.benchmarks.domain.units import Place, make_prototypes


@dataclass(frozen=True, slots=True)
class Unit:
    """One domain with one seed: a case for every task as target, and every score that they and the pairs need."""

    place: Place
    cases: tuple[Case, ...]
    scores: dict[str, np.ndarray]

    def mean(self, on: str, weights: dict[str, float]) -> float:
        """Mean score of a blend on a task's samples."""
        return float(self.scores[blended(on, weights).key].mean())

    def headroom(self, names: Sequence[str]) -> float:
        """Mean gain of these tasks' own adapters over the base."""
        return float(np.mean([self.mean(name, {name: 1.0}) - self.mean(name, {}) for name in names]))


def place_of(domains: Path, domain: str, seed: int) -> Place:
    """Where `tests.benchmarks.domains` left one seed."""
    folder = (domains / domain).resolve()
    return Place(domain, seed, folder, tuple(sorted(path.name for path in (folder / "tasks").iterdir())))


def at_home(place: Place) -> list[Blended]:
    """The base and its own adapter on every task."""
    return [blended(on, weights) for on in place.names for weights in ({}, {on: 1.0})]


def transfers(place: Place) -> list[Blended]:
    """Every adapter on every other task."""
    return [blended(on, {source: 1.0}) for source, on in permutations(place.names, 2)]


def unit_of(place: Place, cache: Path, how: AuditSettings, *, without_siblings: bool) -> Unit:
    """All cases of one seed, scored; with `without_siblings` no target has a sibling in its library."""
    prototypes = make_prototypes(place)
    cases = tuple(
        case_of(prototypes, name, siblings(name, place.names) if without_siblings else set(), how)
        for name in place.names
    )
    store = ScoreStore(cache / place.domain / f"seed{place.seed}")
    wanted = {one.key: one for case in cases for one in case.everything()}
    wanted |= {one.key: one for one in at_home(place)}
    if not without_siblings:
        wanted |= {one.key: one for one in transfers(place)}
    scores = store.read()
    missing = [one for key, one in wanted.items() if key not in scores]
    if missing:
        print(f"{place.domain} seed {place.seed}: {len(missing)} of {len(wanted)} blends to score", file=sys.stderr)
        scores = score_all(open_bench(place), missing, store)
    return Unit(place, cases, scores)
