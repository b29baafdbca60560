"""Reports and instructions: any causal language model; the answer's likelihood, and ROUGE-L of what it writes."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tasks.evaluation.examiners.setting import Setting
from tasks.evaluation.examiners.table import evenly_spaced, read_columns
from tasks.evaluation.limits import Limits
from tasks.evaluation.metrics.features import BERT_SCORE, bert_scores
from tasks.evaluation.metrics.language import ANSWER_NLL, ROUGE_L, rouge_l
from tasks.evaluation.models.causal_lm import (
    Pairs,
    answer_losses,
    greedy_answers,
    load_language_model,
    tokenise_pairs,
)
from tasks.evaluation.scores import Examination, Metric, Shape


@dataclass(frozen=True, slots=True)
class LanguageExaminer:
    """Prompts with their true answers, as texts and as tokens."""

    base: torch.nn.Module
    tokenizer: Any
    prompts: tuple[str, ...]
    answers: tuple[str, ...]
    pairs: Pairs
    limits: Limits
    batch_size: int
    rows: tuple[int, ...]
    judge: tuple[Any, Any] | None  # text encoder and tokenizer of BERTScore

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The answer's likelihood decides: it tells models apart that ROUGE-L calls equal."""
        return (ANSWER_NLL, ROUGE_L) if self.judge is None else (ANSWER_NLL, ROUGE_L, BERT_SCORE)

    @property
    def shown(self) -> tuple[tuple[Shape, Shape], ...]:
        """Prompts and true answers."""
        return tuple((self.prompts[row], self.answers[row]) for row in self.rows)

    def examine(self, model: torch.nn.Module) -> Examination:
        """Metrics of each pair; what the model says to the shown prompts."""
        device = next(model.parameters()).device
        losses, said = [], []
        with torch.inference_mode():
            for rows in torch.arange(len(self.prompts)).split(self.batch_size):
                losses.append(answer_losses(model, self.pairs.take(rows).to(device)).cpu())
                prompts = [self.prompts[row] for row in rows]
                said += greedy_answers(model, self.tokenizer, prompts, limits=self.limits, device=device)
        values = {
            ANSWER_NLL.name: torch.cat(losses).double().numpy(),
            ROUGE_L.name: np.asarray(rouge_l(said, self.answers)),
        }
        if self.judge is not None:
            model_of_texts, tokenizer = self.judge
            values[BERT_SCORE.name] = bert_scores(said, self.answers, model=model_of_texts, tokenizer=tokenizer)
        return Examination(values, tuple(said[row] for row in self.rows))


def open_causal_lm(setting: Setting) -> LanguageExaminer:
    """Load the base, once per process, and the columns `text` (prompt) and `answer`. Raises InvalidInput."""
    base, tokenizer = resident_language_model(setting.base.path, setting.base.digest, setting.device)
    table = read_columns(setting.evaluation, required=("text", "answer"))
    prompts, answers = tuple(table["text"].to_pylist()), tuple(table["answer"].to_pylist())
    return LanguageExaminer(
        base=base,
        tokenizer=tokenizer,
        prompts=prompts,
        answers=answers,
        pairs=tokenise_pairs(tokenizer, prompts, answers, limits=setting.limits),
        limits=setting.limits,
        batch_size=setting.batch_size,
        rows=evenly_spaced(len(prompts), setting.shown),
        judge=_judge(setting),
    )


def _judge(setting: Setting) -> tuple[Any, Any] | None:
    if setting.features is None:
        return None
    from tasks.evaluation.models.features import resident_text_encoder

    return resident_text_encoder(setting.features.path, setting.features.digest, setting.device)


@cache
def resident_language_model(path: Path, digest: str, device: str) -> tuple[Any, Any]:
    """Model and tokenizer, loaded once per process for each content digest."""
    return load_language_model(path, device)
