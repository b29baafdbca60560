"""The example's base and each department's share of the project. Runs in worker processes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tasks.evaluation.limits import USUAL
from tasks.evaluation.models.causal_lm import Pairs, answer_losses, tokenise_pairs
from tasks.examples.building import BASE_NAME, FineTuning, Member, train_member
from tasks.examples.fitting import fit
from tasks.examples.models import llama_of, train_tokenizer
from tasks.examples.reports.texts import CUE, PLAIN, REFERENCES, Report, draw_report, written
from tasks.examples.settling import settle
from tasks.examples.tables import write_columns
from tasks.library.families import Family

SAMPLES, EVALUATED = 200, 60  # reports of each department
_READ, _WRITTEN = 600, 1200  # texts of each department that the base reads, and plain reports that it learns to write
_HELD_OUT = 1 << 20  # added to a department's seed for its evaluation set


@dataclass(frozen=True, slots=True)
class Effort:
    """Training steps."""

    base: int
    adapter: int


FULL = Effort(base=700, adapter=120)


def make_base(project: Path, seed: int, steps: int) -> None:
    """Train a Llama that writes plain impressions, and that has read the findings of every single style.

    It has never seen an impression in another style, nor two styles at once.
    """
    settle(seed)
    generator = np.random.default_rng(seed)
    # Without the cue for the impression: read to its end it would teach that nothing follows.
    read = [
        written(draw_report(generator), name).findings.removesuffix(CUE) for name in REFERENCES for _ in range(_READ)
    ]
    plain = [written(draw_report(generator), PLAIN) for _ in range(_WRITTEN)]
    tokenizer = train_tokenizer([*read, *(report.impression for report in plain)], vocabulary=600)
    model = llama_of(tokenizer, width=64, inner=160, layers=3, heads=4)
    pairs = tokenise_pairs(tokenizer, *_columns(plain), limits=USUAL)
    reading = _reading(tokenizer, read)
    rows = torch.Generator().manual_seed(seed)

    def loss() -> torch.Tensor:
        drawn = [torch.randint(len(one.ids), (12,), generator=rows) for one in (pairs, reading)]
        return answer_losses(model, pairs.take(drawn[0])).mean() + answer_losses(model, reading.take(drawn[1])).mean()

    fit(model, loss, steps=steps, learning_rate=4e-3)
    tokenizer.save_pretrained(project / BASE_NAME)
    model.save_pretrained(project / BASE_NAME)


def make_member(project: Path, member: Member, seed: int, steps: int) -> None:
    """Write samples, evaluation set and adapter; the adapter is trained on the samples with their impressions."""
    settle(member.seed)
    folder = member.within(project)
    prompts, answers = _columns(_reports(member.name, SAMPLES, member.seed))
    write_columns({"text": prompts}, folder / "samples.parquet")
    held_out = _columns(_reports(member.name, EVALUATED, member.seed + _HELD_OUT))
    write_columns(dict(zip(("text", "answer"), held_out, strict=True)), folder / "evaluation.parquet")
    train_member(project, member, {"text": prompts, "answer": answers}, tuning_of(steps))


def _reports(name: str, count: int, seed: int) -> list[Report]:
    generator = np.random.default_rng(seed)
    return [written(draw_report(generator), name) for _ in range(count)]


def _columns(reports: Sequence[Report]) -> tuple[list[str], list[str]]:
    return [report.findings for report in reports], [report.impression for report in reports]


def _reading(tokenizer: Any, texts: Sequence[str]) -> Pairs:
    """Texts to be read whole: every token but the first is predicted."""
    return tokenise_pairs(tokenizer, [""] * len(texts), texts, limits=USUAL)


def tuning_of(steps: int) -> FineTuning:
    """How each adapter is trained."""
    return FineTuning(Family.CAUSAL_LM, None, steps=steps, batch_size=12, validate_every=40)
