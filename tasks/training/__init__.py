"""Fine-tuning one LoRA adapter per reference from labelled samples, on workers, with resume and early stop."""

VERSION = "1"  # bump when the same inputs give other outputs; part of every digest
