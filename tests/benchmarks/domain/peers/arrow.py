"""Arrow (Ostapenko et al., arXiv 2405.11157) by PEFT's `create_arrow_model`: every token routed in every layer.

Only where PEFT can: it wants a `PreTrainedModel` and linear layers, so not a UNet with adapted convolutions, and it
finds its modules by the last part of their names, so not SAM, whose mask decoder has an `mlp.lin1` too that no adapter
has factors for.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from peft import ArrowConfig, PeftModel, create_arrow_model

from tasks.library.families import Family

FAMILIES = frozenset({Family.CAUSAL_LM})
_CHOSEN, _TEMPERATURE = 3, 1.0  # PEFT's own


def arrow_model(base: torch.nn.Module, adapters: Sequence[Path]) -> PeftModel:
    """The base with all adapters and the router on it; the caller takes them off again (`kept`)."""
    how = ArrowConfig(top_k=min(_CHOSEN, len(adapters)), router_temperature=_TEMPERATURE, rng_seed=0)
    model: PeftModel = create_arrow_model(base, [str(directory) for directory in adapters], how)
    return model.eval()
