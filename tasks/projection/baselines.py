"""Weights of the methods that a projection is compared with, as functions of the same neighbourhood (nearest first)."""

import numpy as np

from tasks.projection.moments import GRAIN, moments_of
from tasks.projection.variants import Variant


def base_weights(k: int) -> np.ndarray:
    """No adapter at all: zeros (k,)."""
    return np.zeros(k)


def nearest_weights(k: int) -> np.ndarray:
    """The nearest reference alone: one, then zeros (k,)."""
    weights = np.zeros(k)
    weights[0] = 1.0
    return weights


def uniform_weights(k: int) -> np.ndarray:
    """The paper's Avg: 1 / k each."""
    return np.full(k, 1.0 / k)


def similarity_weights(squared_distances: np.ndarray, *, temperature: float) -> np.ndarray:
    """The paper's Sim, exp(-d^2 / temperature) normalised, shape (k,); temperature in squared prototype distance.

    A library of copies has no spread, and so no temperature: the nearest then share the weight.
    """
    scores = -(squared_distances - squared_distances.min()) / max(temperature, np.finfo(float).tiny)
    weights = np.exp(scores)
    return weights / weights.sum()


def least_squares_weights(atoms: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The paper's Lin: weights (k,) with sum one that minimise ||target - sum_i w_i atom_i||, of least norm.

    Least norm makes the answer unique where atoms are collinear or more than d: copies share equally.
    """
    gram = moments_of(atoms[None], target[None], variant=Variant.AFFINE).gram[0]
    k = len(gram)
    centring = np.eye(k) - 1.0 / k
    step = np.linalg.pinv(centring @ gram @ centring, rcond=k * GRAIN, hermitian=True) @ (centring @ gram.mean(axis=1))
    weights = 1.0 / k - centring @ step
    return weights + (1.0 - weights.sum()) / k
