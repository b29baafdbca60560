"""The programs that load LoRA adapters; apart from the rules, so that naming them costs no import."""

from enum import StrEnum


class Consumer(StrEnum):
    """A loader of adapter directories."""

    PEFT = "peft"
    VLLM = "vllm"
    SGLANG = "sglang"
    LORAX = "lorax"
    DIFFUSERS = "diffusers"
