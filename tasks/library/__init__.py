"""The catalogue: what adapters there are, whether they are sound, and the content-addressed snapshot of them."""

VERSION = "1"  # bump when the same inputs give other outputs; part of every digest
