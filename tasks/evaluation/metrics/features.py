"""Metrics in the embedding space of a feature model: BERTScore of texts; CLIP score and kernel distance of images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tasks.evaluation.scores import Direction, Metric

BERT_SCORE = Metric("bert_score", Direction.HIGHER, "F1, -1 to 1")
CLIP_SCORE = Metric("clip_score", Direction.HIGHER, "100 x cosine, 0 to 100")
KID = Metric("kid", Direction.LOWER, "squared kernel distance")


def bert_scores(said: Sequence[str], true: Sequence[str], *, model: Any, tokenizer: Any) -> np.ndarray:
    """BERTScore F1 (Zhang et al., arXiv 1904.09675) of each text against its reference, (n,), by torchmetrics.

    Last hidden states, without idf weights and without a baseline. An empty text scores 0: there is nothing to match.
    """
    from torchmetrics.functional.text.bert import bert_score  # imports what only texts need

    scores = np.zeros(len(said))
    spoken = [row for row, text in enumerate(said) if text.strip()]
    if spoken:
        found = bert_score(
            [said[row] for row in spoken],
            [true[row] for row in spoken],
            model=model,
            user_tokenizer=tokenizer,
            user_forward_fn=_last_hidden_state,
            device=next(model.parameters()).device,
            max_length=int(model.config.max_position_embeddings),
            truncation=True,
        )
        scores[spoken] = np.atleast_1d(np.asarray(found["f1"], dtype=np.float64))
    return scores


def _last_hidden_state(model: Any, batch: dict[str, Tensor]) -> Tensor:
    states: Tensor = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
    return states


def clip_scores(images: Tensor, texts: Tensor) -> np.ndarray:
    """100 times the cosine of each image's embedding (n, d) with its text's (n, d), not below 0 (n,).

    Hessel et al., "CLIPScore", arXiv 2104.08718, on torchmetrics' scale.
    """
    cosine = torch.nn.functional.cosine_similarity(images.double(), texts.double(), dim=1)
    return (100.0 * cosine).clamp(min=0.0).cpu().numpy()


def kernel_distances(drawn: Tensor, real: Tensor) -> np.ndarray:
    """What each drawn image (n, d) adds to the kernel distance from the real ones (m, d); its mean is the KID, (n,).

    Unbiased squared maximum mean discrepancy under (x . y / d + 1)^3 (Binkowski et al., arXiv 1801.01401), in the
    features at hand instead of Inception's. Raises ValueError for fewer than two images of a kind.
    """
    n, m, d = len(drawn), len(real), drawn.shape[1]
    if n < 2 or m < 2:
        raise ValueError(f"a kernel distance needs two images of each kind, not {n} and {m}")
    x, y = drawn.double(), real.double()
    own, other, theirs = ((a @ b.T / d + 1.0) ** 3 for a, b in ((x, x), (x, y), (y, y)))
    within = (own.sum(dim=1) - own.diagonal()) / (n - 1)
    among_real = (theirs.sum() - theirs.diagonal().sum()) / (m * (m - 1))
    return (within - 2.0 * other.mean(dim=1) + among_real).cpu().numpy()
