"""Feature models that judge what an adapted model puts out: a text encoder, or CLIP. Loaded once per process."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModel, AutoTokenizer, CLIPModel, CLIPProcessor

_BATCH = 32  # images through CLIP at a time


@cache
def resident_text_encoder(path: Path, digest: str, device: str) -> tuple[Any, Any]:
    """Encoder and tokenizer of a BERT-like model; the digest is in the key: a model changed on disk is another."""
    model: Any = AutoModel.from_pretrained(path, local_files_only=True, use_safetensors=True)
    return model.eval().to(device), AutoTokenizer.from_pretrained(path, local_files_only=True)


@dataclass(frozen=True, slots=True)
class Clip:
    """CLIP (Radford et al., arXiv 2103.00020) with its own preparation of images and texts."""

    model: Any
    processor: Any

    def images(self, images: Sequence[np.ndarray]) -> Tensor:
        """Embeddings (n, d) of images (h, w, 3) in 0..1."""
        whole = [(image * 255.0).round().astype(np.uint8) for image in images]
        with torch.inference_mode():
            return torch.cat(
                [
                    self.model.get_image_features(**self._prepared(images=whole[first : first + _BATCH])).pooler_output
                    for first in range(0, len(whole), _BATCH)
                ]
            )

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Embeddings (n, d) of texts, cut at CLIP's length."""
        with torch.inference_mode():
            inputs = self._prepared(text=list(texts), padding=True, truncation=True)
            embeddings: Tensor = self.model.get_text_features(**inputs).pooler_output
        return embeddings

    def _prepared(self, **inputs: Any) -> Any:
        return self.processor(**inputs, return_tensors="pt").to(self.model.device)


@cache
def resident_clip(path: Path, digest: str, device: str) -> Clip:
    """The model, loaded once per process for each content digest."""
    model: Any = CLIPModel.from_pretrained(path, local_files_only=True, use_safetensors=True)
    return Clip(model.eval().to(device), CLIPProcessor.from_pretrained(path, local_files_only=True))
