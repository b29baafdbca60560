"""The two dear parts of many projections on an accelerator, in torch: their Gram matrices, and most of their supports.

Supports are exchanged whole as in exchange.py, for all problems at once: a round solves every problem that is not
settled by the Cholesky factor of its whole Gram matrix, with the identity in the place of what is outside the support.
Problems whose supports are dependent or go round in a circle are left to the CPU, and so are certificates: what is
judged comes back in float64 to where everything else is judged.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tasks.projection.exchange import FIRST, TOGETHER, WORST
from tasks.projection.lockstep import units_of
from tasks.projection.moments import Moments
from tasks.projection.variants import Variant
from tasks.projection.walk import CERTAIN

ATOMS = 2**16  # rows widened to float64 together: half a gigabyte at d = 1024
ENTRIES = 2**26  # of the Gram matrices that are solved together: half a gigabyte, some five times


@dataclass(frozen=True, slots=True)
class Accelerated:
    """Moments as in Moments, as float64 tensors on a device."""

    gram: Tensor
    correlations: Tensor
    energy: Tensor

    def moments(self) -> Moments:
        """The same in numpy."""
        return Moments(*(part.cpu().numpy() for part in (self.gram, self.correlations, self.energy)))

    def exchange(self, moments: Moments, *, penalty: np.ndarray, variant: Variant) -> np.ndarray:
        """Weights (t, k), exactly zero outside the support, to be certified; NaN where nothing was settled.

        `moments` are these in numpy; penalty (t,) is that of Eq. 5. Not for REFIT.
        """
        units = units_of(moments, variant=variant)
        half = np.zeros_like(penalty) if variant is Variant.SIMPLEX else penalty / 2.0
        lam, length, load = (self.gram.new_tensor(part)[:, None] for part in (half, units.length, units.load))
        whole = _Problems(self.gram, self.correlations, lam, length, load, variant)
        at_once = max(1, ENTRIES // moments.size**2)
        windows = [slice(first, first + at_once) for first in range(0, moments.count, at_once)]
        weights: np.ndarray = torch.cat([whole.some(rows).settled() for rows in windows]).cpu().numpy()
        return weights


def gather_accelerated(
    library: np.ndarray, indices: np.ndarray, targets: np.ndarray, *, variant: Variant, device: str
) -> Accelerated:
    """What `gather_moments` gives, made on `device`; only the rows that some target needs go there."""
    count, size = indices.shape
    gram = torch.empty(count, size, size, dtype=torch.float64, device=device)
    correlations, energy = gram.new_zeros(count, size), gram.new_zeros(count)
    for rows, atoms, goals in _windows(library, indices, targets, device):
        if variant.sums_to_one:
            atoms -= goals[:, None]
        else:
            correlations[rows] = torch.matmul(atoms, goals[:, :, None])[:, :, 0]
            energy[rows] = goals.square().sum(dim=1)
        gram[rows] = torch.matmul(atoms, atoms.transpose(1, 2))
    return Accelerated(gram, correlations, energy)


def _windows(
    library: np.ndarray, indices: np.ndarray, targets: np.ndarray, device: str
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Slices of the targets with their atoms (m, k, d) and themselves (m, d), in float64 on the device."""
    used = np.zeros(len(library), dtype=bool)
    used[indices] = True
    rows_used = torch.as_tensor(library[used], device=device)
    place = np.cumsum(used) - 1
    at_once = max(1, ATOMS // indices.shape[1])
    for first in range(0, len(targets), at_once):
        rows = slice(first, first + at_once)
        atoms = rows_used[torch.as_tensor(place[indices[rows]], device=device)].double()
        yield rows, atoms, torch.tensor(targets[rows], device=device, dtype=torch.float64)


@dataclass(frozen=True, slots=True)
class _Problems:
    """t problems: gram (t, k, k), correlations (t, k); half their penalties, and their units, (t, 1) each."""

    gram: Tensor
    correlations: Tensor
    lam: Tensor
    length: Tensor
    load: Tensor
    variant: Variant

    def some(self, rows: Tensor | slice) -> "_Problems":
        """The problems that `rows` selects (positions or a slice)."""
        columns = (self.lam[rows], self.length[rows], self.load[rows])
        return _Problems(self.gram[rows], self.correlations[rows], *columns, self.variant)

    def settled(self) -> Tensor:
        """Weights (t, k), NaN where nothing was settled."""
        out = torch.full_like(self.correlations, torch.nan)
        waiting, signs = torch.arange(len(out), device=out.device), self._first_guess()
        for _ in range(TOGETHER):
            problems = self.some(waiting)
            weights, solved = problems._weights(signs)
            changed = problems._called_for(weights, signs)
            done = solved & (changed == signs).all(dim=1)
            out[waiting[done]] = weights[done]
            rest = solved & ~done
            waiting, signs = waiting[rest], changed[rest]
            if not len(waiting):
                break
        return out / out.sum(dim=1, keepdim=True) if self.variant.sums_to_one else out

    def _first_guess(self) -> Tensor:
        """Signs (t, k): positive at the nearest atoms."""
        squares = self.gram.diagonal(dim1=1, dim2=2) - 2.0 * self.correlations
        nearest = squares.topk(min(FIRST, squares.shape[1]), dim=1, largest=False).indices
        return torch.zeros_like(squares).scatter_(1, nearest, 1.0)

    def _weights(self, signs: Tensor) -> tuple[Tensor, Tensor]:
        """Weights (t, k) on the supports of `signs`, and where there are any (t,)."""
        inside = signs != 0.0
        # With sum one a constant added to every inner product changes nothing, but makes the matrix definite.
        constant = self.length[:, :, None] if self.variant.sums_to_one else 0.0
        outside = torch.diag_embed(self.length.expand_as(signs))
        both = inside[:, :, None] & inside[:, None, :]
        factor, failed = torch.linalg.cholesky_ex(torch.where(both, self.gram + constant, outside))
        right = torch.where(inside, self.correlations - self.lam * signs, 0.0)
        if not self.variant.sums_to_one:
            return torch.cholesky_solve(right[:, :, None], factor)[:, :, 0], failed == 0
        two = torch.cholesky_solve(torch.stack([right, inside.double()], dim=2), factor)
        first, second = two[:, :, 0], two[:, :, 1]
        missing = (1.0 - first.sum(dim=1, keepdim=True)) / second.sum(dim=1, keepdim=True)
        return first + second * missing, (failed == 0) & inside.any(dim=1)

    def _called_for(self, weights: Tensor, signs: Tensor) -> Tensor:
        """The signs that these weights call for: who violates its condition most enters, who lost its sign leaves."""
        left = self.correlations - torch.matmul(self.gram, weights[:, :, None])[:, :, 0]
        inside = signs != 0.0
        if self.variant.sums_to_one:
            multiplier = torch.where(inside, left - self.lam * signs, 0.0).sum(dim=1, keepdim=True)
            left = left - multiplier / inside.sum(dim=1, keepdim=True)
        excess = (left.abs() if self.variant.signed else left) - self.lam
        excess = torch.where(inside | (excess <= CERTAIN * self.load * self.length), 0.0, excess)
        entering = (excess > 0.0) & (excess >= WORST * excess.amax(dim=1, keepdim=True))
        staying = torch.where(weights * signs < CERTAIN * self.load, 0.0, signs)
        return torch.where(entering, left.sign(), staying)
