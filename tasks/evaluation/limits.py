"""How much of a text a language model sees."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Tokens kept of the prompt (its end) and of the answer (its beginning)."""

    prompt: int
    answer: int


USUAL = Limits(prompt=512, answer=128)
