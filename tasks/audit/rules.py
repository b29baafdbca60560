"""The rules that an audit compares: a way to weigh a neighbourhood, its strength, and how prototypes are prepared."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from tasks.projection.preparation import Preparation


class Weighing(Enum):
    """Ways to weigh a neighbourhood, the safest first: ties and ignorance go to the earlier one.

    BASE leaves the model alone; L1 is Eq. 5 of arXiv 2410.09908; REFIT and L1 may weigh negatively.
    """

    BASE = "base"
    SIMPLEX = "simplex"
    SIMILARITY = "similarity"
    UNIFORM = "uniform"
    NEAREST = "nearest"
    L1 = "l1"
    REFIT = "refit"


_CAUTION = {weighing: position for position, weighing in enumerate(Weighing)}


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `strength` is a fraction of the library's spread: L1's penalty or SIMILARITY's temperature."""

    weighing: Weighing
    strength: float | None
    preparation: Preparation

    @property
    def name(self) -> str:
        """Readable and unique: `l1 0.1 whitened`; raw prototypes go without saying."""
        strength = "" if self.strength is None else f" {self.strength:g}"
        prepared = "" if self.preparation is Preparation.RAW else f" {self.preparation.value}"
        return f"{self.weighing.value}{strength}{prepared}"

    @property
    def caution(self) -> tuple[int, float, str]:
        """Sorts rules from the safest: by weighing, then the larger penalty first, then by name."""
        return _CAUTION[self.weighing], -(self.strength or 0.0), self.name


BASE = Rule(Weighing.BASE, None, Preparation.RAW)


def audited_rules(
    *, penalties: Sequence[float], temperatures: Sequence[float], preparations: Sequence[Preparation]
) -> tuple[Rule, ...]:
    """All rules, the safest first; what no preparation can change is listed once.

    Distances, and so SIMILARITY, SIMPLEX, L1 and REFIT, depend on the preparation; BASE, UNIFORM and NEAREST (the
    neighbourhood is retrieved on raw prototypes) do not.
    """
    rules = {BASE, *(Rule(weighing, None, Preparation.RAW) for weighing in (Weighing.UNIFORM, Weighing.NEAREST))}
    for preparation in preparations:
        rules.add(Rule(Weighing.SIMPLEX, None, preparation))
        rules |= {Rule(Weighing.SIMILARITY, value, preparation) for value in temperatures}
        rules |= {Rule(Weighing.L1, value, preparation) for value in penalties}
        rules.add(Rule(Weighing.REFIT, None, preparation))
    return tuple(sorted(rules, key=lambda rule: rule.caution))
