"""Radiology reports in the house styles of invented departments: the example of family `causal-lm`."""
