"""The active sets of many least squares problems in lockstep: inverses that grow and shrink by one atom at a time.

Arrays carry the problems on the last axis, so that one numpy instruction serves all of them. For the support
S of each problem, with G its matrix (`gram` + `shift`), an ActiveSet keeps the inverse of G_SS and the columns G_.S, in
slots, and for each right-hand side b one line of k numbers:

    (G_SS^-1 b_S)_j                 for j in S      (a weight)
    b_j - G_jS G_SS^-1 b_S          for j outside   (a correlation with what is left)

An atom that enters or leaves changes both by one rank-one update, the principal pivot ("sweep") of Goodnight, "A
tutorial on the SWEEP operator", The American Statistician 33 (1979), restricted to what the next step needs:
|S| (k + |S|) numbers instead of k^2.
"""

from dataclasses import dataclass

import numpy as np

FIRST_SLOTS = 8  # supports are small; the room for them doubles when they are not


@dataclass(slots=True)
class Pivot:
    """What happens when one atom of each problem enters or leaves.

    atoms (t,), leaving (t,) bool; slots (t,): where the atom is or will be; column (k, t): an entering atom's column
    of G; inside (m, t): the change's direction on the slots; line (k, t): the same on all atoms; size (t,): Schur
    complement of an entering atom, the inverse's diagonal entry of a leaving one.
    """

    atoms: np.ndarray
    leaving: np.ndarray
    slots: np.ndarray
    column: np.ndarray
    inside: np.ndarray
    line: np.ndarray
    size: np.ndarray


class ActiveSet:
    """Supports, inverses and right-hand sides of t problems with k atoms; changed in place by `apply`.

    gram (n, k, k) is symmetric positive semidefinite, float64, and only read; `problems` (t,) are the ones of it that
    are solved here; G is gram * rate + shift with one rate (n,) a problem; rows (m, k, t) are the right-hand sides,
    taken over.
    """

    __slots__ = ("_atoms", "_gram", "_inverse", "_panel", "_problems", "_rate", "_shift", "_slots", "_used", "rows")

    def __init__(
        self, gram: np.ndarray, problems: np.ndarray, rate: np.ndarray, shift: float, rows: np.ndarray
    ) -> None:
        k = gram.shape[1]
        self._gram, self._problems, self._rate, self._shift, self.rows = gram, problems, rate, shift, rows
        self._slots = np.zeros_like(rows[0], dtype=self._problems.dtype)  # atom -> slot, meaningful inside only
        self._atoms = np.zeros_like(rows[0, :FIRST_SLOTS], dtype=self._problems.dtype) + k  # slot -> atom, k: empty
        capacity = self._atoms.shape[0]
        self._inverse = np.zeros((capacity, capacity, self.count))
        self._panel = np.zeros((capacity, k, self.count))
        self._used = 0

    @property
    def count(self) -> int:
        """Number of problems t."""
        return int(self.rows.shape[2])

    def prepare(self, atoms: np.ndarray, leaving: np.ndarray) -> Pivot:
        """The pivot of `atoms` (t,), inside where `leaving` and outside elsewhere; nothing is changed yet."""
        k, m, columns = self.rows.shape[1], self._used, np.arange(self.count)
        column = np.zeros((k + 1, self.count))  # one more for what empty slots point to
        column[:k] = self._gram[self._problems, atoms].T
        column[:k] *= self._rate[self._problems]
        column[:k] += self._shift
        going = np.flatnonzero(leaving)
        column[:, going] = 0.0
        slots = self._slots[atoms, columns]
        occupants = self._atoms[:m]
        inside = np.einsum("mnt,nt->mt", self._inverse[:m, :m], column[occupants, columns])
        inside[:, going] = self._inverse[:m, slots[going], going]
        line = column + 0.0
        line[:k] -= np.einsum("mkt,mt->kt", self._panel[:m], inside)
        line[occupants, columns] = inside
        return Pivot(atoms, leaving, slots, column[:k], inside, line[:k], line[atoms, columns])

    def apply(self, pivot: Pivot, live: np.ndarray) -> None:
        """Carry the pivot out where `live` (t,)."""
        columns = np.arange(self.count)
        rate = np.where(live, 1.0 / np.where(live, pivot.size, 1.0), 0.0)
        at_atom = self.rows[:, pivot.atoms, columns] * rate
        # size - 1 in the atom's own place makes the update right there too: row_p becomes row_p / size.
        pivot.line[pivot.atoms, columns] = pivot.size - 1.0
        for row, value in zip(self.rows, at_atom, strict=True):
            row -= pivot.line * value
        entering, going = np.flatnonzero(live & ~pivot.leaving), np.flatnonzero(live & pivot.leaving)
        direction = self._make_room(pivot, entering)
        _add_outer(self._inverse, direction, direction * np.where(pivot.leaving, -rate, rate))
        self._panel[pivot.slots[entering], :, entering] = pivot.column[:, entering].T
        self._atoms[pivot.slots[entering], entering] = pivot.atoms[entering]
        self._slots[pivot.atoms[entering], entering] = pivot.slots[entering]
        # Exactly zero, so that what an empty slot holds never counts.
        self._inverse[pivot.slots[going], :, going] = 0.0
        self._inverse[:, pivot.slots[going], going] = 0.0
        self._atoms[pivot.slots[going], going] = self.rows.shape[1]

    def solve_inside(self, right: np.ndarray, problems: np.ndarray) -> np.ndarray:
        """G_SS^-1 right_S for these problems, right (k, len(problems)); zero outside the support."""
        m = self._used
        padded = np.zeros((right.shape[0] + 1, right.shape[1]))
        padded[:-1] = right
        occupants, columns = self._atoms[:m][:, problems], np.arange(right.shape[1])
        inside = np.einsum("mnt,nt->mt", self._inverse[:m, :m][:, :, problems], padded[occupants, columns])
        padded[:] = 0.0
        padded[occupants, columns] = inside
        return padded[:-1]

    def product(self, weights: np.ndarray, problems: np.ndarray) -> np.ndarray:
        """Gram times rate times weights (k, len(problems)), without the shift."""
        rows = self._problems[problems]
        return np.asarray(np.einsum("tij,jt->it", self._gram[rows], weights)) * self._rate[rows]

    def keep(self, problems: np.ndarray) -> None:
        """Forget all problems but these positions."""
        self._problems = self._problems[problems]
        self.rows = self.rows[:, :, problems]
        self._slots, self._atoms = self._slots[:, problems], self._atoms[:, problems]
        occupied = np.flatnonzero((self._atoms != self.rows.shape[1]).any(-1))
        self._used = int(occupied[-1]) + 1 if len(occupied) else 0
        room = max(self._used, 1)  # copying empty slots costs as much as copying full ones
        self._atoms = self._atoms[:room]
        self._inverse, self._panel = self._inverse[:room, :room][:, :, problems], self._panel[:room][:, :, problems]

    def join(self, other: "ActiveSet") -> None:
        """Take in the problems of another active set on the same gram, behind one's own."""
        slots = max(len(self._atoms), len(other._atoms))
        self._grow(slots)
        other._grow(slots)
        self._used = max(self._used, other._used)
        for name in ("_problems", "rows", "_slots", "_atoms", "_inverse", "_panel"):
            setattr(self, name, np.concatenate([getattr(self, name), getattr(other, name)], -1))

    def _make_room(self, pivot: Pivot, entering: np.ndarray) -> np.ndarray:
        """Give each entering atom the first empty slot; returns the pivot's direction on all slots in use, (m, t)."""
        k = self.rows.shape[1]
        if len(entering) and bool((self._atoms[:, entering] != k).all(axis=0).any()):
            self._grow(2 * len(self._atoms))
        free = (self._atoms == k).argmax(axis=0)
        pivot.slots = np.where(pivot.leaving, pivot.slots, free)
        before = self._used
        if len(entering):
            self._used = max(before, int(pivot.slots[entering].max()) + 1)
        direction = np.zeros((self._used, self.count))
        direction[:before] = pivot.inside
        direction[pivot.slots[entering], entering] = -1.0
        return direction

    def _grow(self, slots: int) -> None:
        k, old = self.rows.shape[1], self._atoms.shape[0]
        new = max(min(slots, k), old)
        atoms = np.full((new, self.count), k)
        inverse = np.zeros((new, new, self.count))
        panel = np.zeros((new, k, self.count))
        atoms[:old], inverse[:old, :old], panel[:old] = self._atoms, self._inverse, self._panel
        self._atoms, self._inverse, self._panel = atoms, inverse, panel


def _add_outer(matrices: np.ndarray, left: np.ndarray, right: np.ndarray) -> None:
    """Add left right' to the leading block of each matrix, in place."""
    m = len(left)
    for i in range(m):  # row by row, so that the products stay in the first-level cache
        matrices[i, :m] += left[i] * right
