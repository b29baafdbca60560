"""A composition: which references, with which weights, from which snapshot. Enough to rebuild the adapter from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasks.files import digest_value


@dataclass(frozen=True, slots=True)
class Neighbour:
    """One reference of the neighbourhood, as the digest and the blend see it."""

    reference: str
    distance: float  # to the target's prototype, in the prepared space
    prototype_digest: str
    adapter_digest: str


@dataclass(frozen=True, slots=True)
class Composition:
    """A target's weights on its neighbourhood, nearest first, with the certificate they were returned with."""

    target: str
    digest: str
    snapshot: str
    neighbours: tuple[Neighbour, ...]
    weights: tuple[float, ...]
    penalty: float  # absolute: unit of a squared prototype distance
    residual: float  # distance between the target's prototype and its reconstruction
    coverage: float
    duality_gap: float  # relative

    @property
    def support(self) -> dict[str, float]:
        """References with a weight, largest magnitude first, ties by name."""
        pairs = ((n.reference, w) for n, w in zip(self.neighbours, self.weights, strict=True) if w != 0)
        return dict(sorted(pairs, key=lambda pair: (-abs(pair[1]), pair[0])))


def composition_digest(
    *,
    target_prototype: str,
    neighbours: tuple[Neighbour, ...],
    calibration: str,
    base_model: str,
    settings: Mapping[str, Any],
    versions: Mapping[str, str],
) -> str:
    """Identity of a composition: everything its weights and its adapter depend on, and nothing else.

    The snapshot is left out on purpose: a change elsewhere in the library must not touch this target.
    """
    return digest_value(
        {
            "target": target_prototype,
            "neighbours": [[n.reference, n.prototype_digest, n.adapter_digest] for n in neighbours],
            "calibration": calibration,
            "base_model": base_model,
            "settings": dict(settings),
            "versions": dict(versions),
        }
    )
