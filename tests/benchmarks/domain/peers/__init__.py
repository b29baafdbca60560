"""Rival methods that blend otherwise than by weights on deltas, or that see labels or tokens. Never in the product."""
