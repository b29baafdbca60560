"""A tiny real base model with real PEFT adapters on it, and an evaluation set of noise."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import ViTConfig, ViTForImageClassification

from tasks.evaluation.examiners.setting import Setting
from tasks.library.base_model import BaseModel
from tasks.library.families import Family

SIDE, CLASSES, ROWS = 8, 5, 40
TARGETS = ["q_proj", "v_proj", "fc1", "classifier"]


def tiny_vit() -> ViTForImageClassification:
    settings = ViTConfig(
        image_size=SIDE,
        patch_size=4,
        num_channels=1,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=24,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.5,  # large enough that an adapter changes predictions
    )
    settings.num_labels = CLASSES
    return ViTForImageClassification(settings)


@dataclass(frozen=True)
class World:
    root: Path
    base: BaseModel
    adapters: tuple[Path, ...]
    evaluation: str
    pixels: np.ndarray
    labels: np.ndarray

    def setting(self) -> Setting:
        return Setting(Family.ENCODER, self.base, self.evaluation, device="cpu", batch_size=16, shown=3)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("world")
    torch.manual_seed(0)
    tiny_vit().save_pretrained(root / "base")
    adapters = []
    for index, rank in enumerate((2, 3, 1)):
        base = ViTForImageClassification.from_pretrained(root / "base")
        torch.manual_seed(10 + index)
        config = LoraConfig(r=rank, lora_alpha=4, target_modules=TARGETS, init_lora_weights=False)
        get_peft_model(base, config).save_pretrained(root / f"adapter{index}", save_embedding_layers=False)
        adapters.append(root / f"adapter{index}")
    generator = np.random.default_rng(0)
    pixels = generator.normal(size=(ROWS, 1, SIDE, SIDE)).astype(np.float32)
    labels = generator.integers(CLASSES, size=ROWS)
    evaluation = root / "evaluation.parquet"
    table = {"pixel_values": pa.array(list(pixels.reshape(ROWS, -1)), pa.list_(pa.float32())), "label": labels}
    pq.write_table(pa.table(table), evaluation)
    base = BaseModel("base", None, root / "base", "digest-of-base")
    return World(root, base, tuple(adapters), str(evaluation), pixels, labels)
