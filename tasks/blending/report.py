"""What a blend reports about itself, per module and in all."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ModuleReport:
    """One module of a blend.

    `norm` is the Frobenius norm of the untruncated delta; `lost_energy` the fraction of its square that truncation
    dropped; `effective_rank` the exponential of the entropy of the normalised singular values; both are None where an
    exact blend was made without its spectrum. `shares[adapter]` is |w_i| ||delta_i|| over the sum of these norms.
    """

    rank: int
    norm: float | None
    lost_energy: float
    effective_rank: float | None
    shares: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class BlendReport:
    """`rank` of the file, `lost_energy` over all modules (fraction of the squared norm), and each module's report."""

    rank: int
    lost_energy: float
    modules: Mapping[str, ModuleReport]

    def to_json(self) -> dict[str, Any]:
        """A JSON-serialisable form for the recipe."""
        return {
            "rank": self.rank,
            "lost_energy": self.lost_energy,
            "modules": {
                name: {
                    "rank": module.rank,
                    "norm": module.norm,
                    "lost_energy": module.lost_energy,
                    "effective_rank": module.effective_rank,
                    "shares": dict(module.shares),
                }
                for name, module in self.modules.items()
            },
        }


def summed(rank: int, modules: Mapping[str, ModuleReport]) -> BlendReport:
    """The report of a whole blend: energies add over modules."""
    energies = [(module.lost_energy, module.norm**2) for module in modules.values() if module.norm is not None]
    total = sum(energy for _, energy in energies)
    lost = sum(share * energy for share, energy in energies)
    return BlendReport(rank=rank, lost_energy=lost / total if total else 0.0, modules=dict(modules))


def norm_shares(norms: Mapping[str, float]) -> dict[str, float]:
    """Norms of the weighted deltas as shares of their sum; all zero when every delta is."""
    total = sum(norms.values())
    return {name: value / total if total else 0.0 for name, value in norms.items()}
