"""One module of many targets: factors at the asked rank, and what became of the adapters in it."""

from collections.abc import Mapping, Sequence

from tasks.blending.factors import Factors
from tasks.blending.library_module import Decomposed, LibraryModule, choose, decompose, exact_factors
from tasks.blending.recompression import Exact, Recompression, ToEnergy, ToRank
from tasks.blending.report import ModuleReport, norm_shares
from tasks.blending.truncation import effective_rank, lost_energy, rank_for_energy

Blended = tuple[Factors, ModuleReport]


def decompose_targets(library: LibraryModule, targets: Sequence[Mapping[str, float]]) -> list[Decomposed | None]:
    """The spectrum of each target's delta; None for a target none of whose adapters has the module."""
    chosen = [choose(library, weights) for weights in targets]
    found = iter(decompose(library, [one for one in chosen if one is not None]))
    return [None if one is None else next(found) for one in chosen]


def blend_module(
    library: LibraryModule, targets: Sequence[Mapping[str, float]], recompression: Recompression
) -> list[Blended | None]:
    """Blend, for each target, the adapters that have a weight and the module; None if there are none."""
    return [
        None if found is None else _blended(library, weights, found, recompression)
        for weights, found in zip(targets, decompose_targets(library, targets), strict=True)
    ]


def _blended(
    library: LibraryModule, weights: Mapping[str, float], found: Decomposed, recompression: Recompression
) -> Blended:
    match recompression:
        case Exact():
            factors = exact_factors(library, found.chosen)
            return factors, _report(library, weights, found, rank=factors.rank)
        case ToRank() | ToEnergy():
            rank = kept_rank(found, recompression)
            return found.truncated(rank), _report(library, weights, found, rank=rank)


def kept_rank(found: Decomposed, recompression: ToRank | ToEnergy) -> int:
    """The rank that a module keeps: as asked, and never more than it has directions."""
    match recompression:
        case ToRank(rank):
            return min(rank, len(found.singular))
        case ToEnergy(share):
            return rank_for_energy(found.singular, share)


def _report(library: LibraryModule, weights: Mapping[str, float], found: Decomposed, *, rank: int) -> ModuleReport:
    norms = {name: abs(weights[name]) * norm for name, norm in library.norms.items() if weights.get(name, 0.0) != 0}
    total = float(found.singular.norm())
    return ModuleReport(
        rank=rank,
        norm=total,
        lost_energy=lost_energy(found.singular, rank) / total**2 if total else 0.0,
        effective_rank=effective_rank(found.singular),
        shares=norm_shares(norms),
    )
