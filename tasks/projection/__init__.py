"""Projection: a target written as a combination of library prototypes, with a certificate of optimality."""

VERSION = "4"  # bump when the same inputs give other outputs; part of every digest
