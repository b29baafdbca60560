"""Controls: what the blend would do if its weights, or its adapters, carried no information."""

from collections.abc import Sequence

import numpy as np
import torch

from tasks.blending.blend import Blend, module_norms, random_like, rescale


def permuted_weights(weights: Sequence[float], generator: np.random.Generator) -> tuple[float, ...]:
    """The same weights on other references: a random permutation."""
    return tuple(float(weight) for weight in generator.permutation(np.asarray(weights, dtype=np.float64)))


def norm_matched(blend: Blend, reference: Blend) -> Blend:
    """`blend` with each module's delta rescaled to the norm it has in `reference`: how far it goes, not where to.

    A module that `blend` leaves alone stays so: it has no direction to rescale.
    """
    wanted, got = module_norms(reference), module_norms(blend)
    return rescale(blend, {module: wanted[module] / norm for module, norm in got.items() if norm > 0})


def random_control(reference: Blend, seed: int) -> Blend:
    """Random factors, each module's delta of the norm it has in `reference` (arXiv 2602.12323's strongest rival)."""
    return random_like(reference, torch.Generator().manual_seed(seed))
