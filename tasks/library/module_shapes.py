"""Weight shapes of a model by the names of its modules in memory, which adapters use and checkpoints may not.

A library that renames modules keeps reading its older checkpoints by a table of renamings, so the checkpoint's header
alone does not always say what an adapter's module means.
"""

import json
from pathlib import Path


def module_shapes(model: Path) -> dict[str, tuple[int, ...]]:
    """Weight shapes of the model in `model`, built without memory from its configuration; empty where that fails.

    Imports torch and transformers, so its answer is worth remembering.
    """
    if not (model / "config.json").is_file():
        return {}
    import torch
    import transformers

    names = json.loads((model / "config.json").read_text(encoding="utf-8")).get("architectures") or []
    kind = next((found for name in names if (found := getattr(transformers, name, None)) is not None), None)
    if kind is None:
        return {}
    with torch.device("meta"):
        built = kind._from_config(transformers.AutoConfig.from_pretrained(model))
    return {
        name.removesuffix(".weight"): tuple(weight.shape)
        for name, weight in built.named_parameters()
        if name.endswith(".weight")
    }
