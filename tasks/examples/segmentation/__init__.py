"""Handwriting to be found on pages under uneven light: the example of family `segmentation`."""
