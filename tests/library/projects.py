"""A tiny library on disk: a real ViT, real PEFT adapters, and sample files that can be damaged."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from peft import LoraConfig, get_peft_model
from transformers import ViTConfig, ViTForImageClassification

from tasks.files import DigestCache
from tasks.library.base_model import BaseModel, resolve_base
from tasks.library.entries import Entry
from tasks.library.families import Family
from tasks.library.memory import Memory
from tasks.library.validation import Examination, examine

PIXELS = 64  # 1 channel, 8 x 8


def tiny_vit(hidden: int = 8) -> ViTForImageClassification:
    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=hidden,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=8,
        patch_size=4,
        num_channels=1,
        num_labels=3,
    )
    return ViTForImageClassification(config).eval()


def save_base(root: Path) -> BaseModel:
    tiny_vit().save_pretrained(root / "base")
    return resolve_base("base", None, root, DigestCache())


def save_adapter(directory: Path, *, base: str = "base", hidden: int = 8) -> Path:
    model = get_peft_model(tiny_vit(hidden), LoraConfig(r=2, target_modules=["q_proj", "fc1"]))
    model.save_pretrained(str(directory))
    config = directory / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"base_model_name_or_path": base}))
    return directory


def save_samples(path: Path, rows: Sequence[Sequence[float] | None]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"pixel_values": pa.array(list(rows), pa.list_(pa.float32()))}), path)
    return path


def random_rows(count: int, seed: int) -> list[list[float]]:
    return np.random.default_rng(seed).normal(size=(count, PIXELS)).astype(np.float32).tolist()


def save_entry(root: Path, name: str, *, seed: int = 0, count: int = 6) -> Entry:
    samples = save_samples(root / name / "samples.parquet", random_rows(count, seed))
    return Entry(name, str(save_adapter(root / name / "adapter")), str(samples), None, None)


def look(
    root: Path,
    base: BaseModel,
    library: Sequence[Entry],
    targets: Sequence[Entry] = (),
    *,
    memory: Memory | None = None,
) -> Examination:
    return examine(
        library,
        targets,
        base=base,
        family=Family.ENCODER,
        aliases=frozenset({"known-as"}),
        root=root,
        memory=Memory() if memory is None else memory,
    )
