"""From token states to one embedding a sample. Pure."""

import torch
from torch import Tensor


def mean_over_tokens(hidden: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over t of the token states (n, t, d) where `mask` (n, t) is not zero, in float32; shape (n, d)."""
    if mask is None:
        return hidden.mean(dim=1, dtype=torch.float32)
    # Filled, not multiplied: a padded position may hold anything, NaN included.
    kept = hidden.masked_fill(mask.unsqueeze(2) == 0, 0.0)
    return kept.sum(dim=1, dtype=torch.float32) / mask.sum(dim=1, keepdim=True)


def token_map(hidden: Tensor) -> Tensor:
    """All token states of a sample one behind the other: (n, t, d) -> (n, t * d), in float32.

    Its mean over samples is the flattened mean per position. Only for inputs whose positions mean the same everywhere.
    """
    return hidden.flatten(start_dim=1).float()
