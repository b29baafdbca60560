"""One module of one target: factors at the asked rank, and what became of the adapters in it."""

from collections.abc import Mapping

from tasks.blending.factors import Factors
from tasks.blending.library_module import Decomposed, LibraryModule, choose, decompose, exact_factors
from tasks.blending.recompression import Exact, Recompression, ToEnergy, ToRank
from tasks.blending.report import ModuleReport, norm_shares
from tasks.blending.truncation import effective_rank, lost_energy, rank_for_energy


def blend_module(
    library: LibraryModule, weights: Mapping[str, float], recompression: Recompression
) -> tuple[Factors, ModuleReport] | None:
    """Blend the adapters that have a weight and the module; None if there are none."""
    chosen = choose(library, weights)
    if chosen is None:
        return None
    found = decompose(library, chosen)
    match recompression:
        case Exact():
            factors = exact_factors(library, chosen)
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
    norms = {name: abs(weights[name]) * norm for name, norm in library.norms().items() if weights.get(name, 0.0) != 0}
    total = float(found.singular.norm())
    return ModuleReport(
        rank=rank,
        norm=total,
        lost_energy=lost_energy(found.singular, rank) / total**2 if total else 0.0,
        effective_rank=effective_rank(found.singular),
        shares=norm_shares(norms),
    )
