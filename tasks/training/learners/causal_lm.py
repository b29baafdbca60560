"""A causal language model on prompts and answers: columns `text` and `answer`."""

from dataclasses import dataclass

import torch

from tasks.evaluation.examiners.causal_lm import resident_language_model
from tasks.evaluation.examiners.table import read_columns
from tasks.evaluation.models.causal_lm import PROJECTIONS, Pairs, answer_losses, tokenise_pairs
from tasks.training.job import TrainingJob


@dataclass(frozen=True, slots=True)
class LanguageLearner:
    """Tokenised pairs."""

    base: torch.nn.Module
    pairs: Pairs

    @property
    def targets(self) -> str:
        """Every linear layer but the head."""
        return PROJECTIONS

    @property
    def count(self) -> int:
        """Number of pairs."""
        return len(self.pairs.ids)

    def losses(self, model: torch.nn.Module, rows: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """The answer's loss; the prompt has none."""
        return answer_losses(model, self.pairs.take(rows).to(next(model.parameters()).device))


def open_causal_lm(job: TrainingJob) -> LanguageLearner:
    """Load the base, once per process, and the rows. Raises InvalidInput for missing columns."""
    base, tokenizer = resident_language_model(job.base.path, job.base.digest, job.device)
    table = read_columns(job.samples, required=("text", "answer"))
    pairs = tokenise_pairs(tokenizer, table["text"].to_pylist(), table["answer"].to_pylist(), limits=job.limits)
    return LanguageLearner(base, pairs)
