"""The learning rate as a function of the step: pure, so that a resumed training needs no memory of it."""

import math


def rate_share(step: int, *, steps: int, warmup: float) -> float:
    """Share of the full rate at `step` of `steps`: a line from zero over the share `warmup`, then half a cosine."""
    rising = warmup * steps
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1.0, steps - rising)))
