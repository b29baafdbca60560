"""Handwritten digits under acquisition conditions: the embedded example project."""
