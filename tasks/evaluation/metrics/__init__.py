"""Metrics of single samples, each by its reference library."""
