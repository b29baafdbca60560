"""Metrics per model family, the methods and controls a composition is compared with, and their intervals."""

VERSION = "3"  # bump when the same inputs give other outputs; part of every digest
