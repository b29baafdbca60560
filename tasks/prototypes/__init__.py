"""Prototypes: the mean embedding of a task's samples in the base model, and how far it can be trusted."""

VERSION = "1"  # bump when the same inputs give other outputs; part of every digest
