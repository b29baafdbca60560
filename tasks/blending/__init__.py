"""Blending: PEFT LoRA adapters in, one ordinary PEFT adapter out, exactly and without the base model."""

VERSION = "1"  # bump when the same inputs give other outputs; part of every digest
