"""ROUGE-L of single answers, by Google's rouge-score; and the answer's negative log-likelihood."""

from collections.abc import Sequence

import numpy as np
from rouge_score.rouge_scorer import RougeScorer

from tasks.evaluation.scores import Direction, Metric

ROUGE_L = Metric("rouge_l", Direction.HIGHER, "F1, 0 to 1")
ANSWER_NLL = Metric("answer_nll", Direction.LOWER, "nats per token")


def rouge_l(answers: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """ROUGE-L F1 (Lin 2004) with Porter stemming of each answer against its reference, (n,)."""
    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    pairs = zip(references, answers, strict=True)
    return np.array([scorer.score(reference, answer)["rougeL"].fmeasure for reference, answer in pairs])
