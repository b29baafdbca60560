"""Compositions: the recipes that blended adapters are made from, and their Parquet store."""
