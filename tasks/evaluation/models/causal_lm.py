"""Causal language models on prompt and answer: the loss is the answer's, the prompt is only read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer

from tasks.evaluation.limits import Limits

PROJECTIONS = "all-linear"  # PEFT's word for every linear layer but the head
_IGNORED = -100


@dataclass(frozen=True, slots=True)
class Pairs:
    """Token ids (n, t), their mask, and labels: the answer's ids, -100 elsewhere. Padded on the right."""

    ids: torch.Tensor
    mask: torch.Tensor
    labels: torch.Tensor

    def take(self, rows: torch.Tensor) -> "Pairs":
        """These rows, cut to the longest of them."""
        longest = int(self.mask[rows].sum(dim=1).max())
        return Pairs(self.ids[rows, :longest], self.mask[rows, :longest], self.labels[rows, :longest])

    def to(self, device: torch.device) -> "Pairs":
        """The same on a device."""
        return Pairs(self.ids.to(device), self.mask.to(device), self.labels.to(device))


def load_language_model(path: Path, device: str) -> tuple[Any, Any]:
    """The model in evaluation mode and its tokenizer."""
    model: Any = AutoModelForCausalLM.from_pretrained(path, local_files_only=True, use_safetensors=True)
    return model.eval().to(device), AutoTokenizer.from_pretrained(path, local_files_only=True)


def tokenise_pairs(tokenizer: Any, prompts: Sequence[str], answers: Sequence[str], *, limits: Limits) -> Pairs:
    """Prompt, answer and the end token behind each other; the model learns to stop as well.

    Raises ValueError for an answer without a token.
    """
    rows = []
    for number, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        read = prompt_ids(tokenizer, prompt, limits)
        said = tokenizer(answer, add_special_tokens=False)["input_ids"][: limits.answer]
        if not said:
            raise ValueError(f"answer {number} has no token")
        said = [*said, tokenizer.eos_token_id]
        rows.append((read + said, [_IGNORED] * len(read) + said))
    longest = max(len(ids) for ids, _ in rows)
    padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id

    def padded(values: list[int], filler: int) -> list[int]:
        return values + [filler] * (longest - len(values))

    return Pairs(
        ids=torch.tensor([padded(ids, padding) for ids, _ in rows]),
        mask=torch.tensor([padded([1] * len(ids), 0) for ids, _ in rows]),
        labels=torch.tensor([padded(labels, _IGNORED) for _, labels in rows]),
    )


def prompt_ids(tokenizer: Any, prompt: str, limits: Limits) -> list[int]:
    """Ids of the end of a prompt, opened by the tokenizer's begin token where it has one."""
    begin = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    ids: list[int] = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    return begin + ids[max(0, len(ids) - limits.prompt) :]


def answer_losses(model: torch.nn.Module, pairs: Pairs) -> torch.Tensor:
    """Negative log-likelihood of each answer in nats per token, its end token included, (n,)."""
    logits = model(input_ids=pairs.ids, attention_mask=pairs.mask).logits[:, :-1]
    labels = pairs.labels[:, 1:]
    losses = functional.cross_entropy(logits.transpose(1, 2).float(), labels, ignore_index=_IGNORED, reduction="none")
    return losses.sum(dim=1) / (labels != _IGNORED).sum(dim=1)


def greedy_answers(
    model: Any, tokenizer: Any, prompts: Sequence[str], *, limits: Limits, device: torch.device
) -> list[str]:
    """What the model says to each prompt, at most `limits.answer` tokens, always the likeliest."""
    rows = [prompt_ids(tokenizer, prompt, limits) for prompt in prompts]
    longest = max(len(row) for row in rows)
    padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    # Padded on the left: generation goes on from the last column of every row.
    ids = torch.tensor([[padding] * (longest - len(row)) + row for row in rows], device=device)
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=device)
    said = model.generate(
        input_ids=ids,
        attention_mask=mask,
        max_new_tokens=limits.answer,
        do_sample=False,
        pad_token_id=padding,
        eos_token_id=tokenizer.eos_token_id,
    )
    return [text.strip() for text in tokenizer.batch_decode(said[:, longest:], skip_special_tokens=True)]
