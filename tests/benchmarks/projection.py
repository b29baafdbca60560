"""Projection against cvxpy, scikit-learn and celer: `python -m tests.benchmarks.projection --json`.

One thread, process CPU time, medians of alternating runs. Data are synthetic: clusters of tasks with 16-dimensional
structure inside, noise, and a common mean of norm 5 (mean cosine 0.93, as encoders have it). Penalties: 0.1 of
lambda_max for the free variant, 0.3 of lambda_bar for the affine one, per target. `error` is the largest relative
duality gap of ours. Peers solve a sample of the same targets; ours solves all of them. celer comes from the optional
extra `bench`.
"""

from tests.benchmarks.timing import alternate, arguments, machine, one_thread, report, result

if __name__ == "__main__":
    one_thread()

import warnings
from collections.abc import Iterator

import numpy as np

from tasks.projection.certificate import relative_gaps
from tasks.projection.moments import Moments, gather_moments
from tasks.projection.neighbours import index_library, nearest_prepared
from tasks.projection.path import largest_penalties, paths
from tasks.projection.penalties import penalty_grid
from tasks.projection.preparation import Transform
from tasks.projection.pricing import longest_of, most_correlated, project_on_library
from tasks.projection.solve import Solved, solve_moments
from tasks.projection.variants import Variant
from tests.benchmarks.timing import Result

K, D = 32, 1024
FREE_SHARE, AFFINE_SHARE = 0.1, 0.3
AS_MUCH_AS_NUMERICS_ALLOW = 1e-8


class Data:
    """A library (n, D) in clusters and targets drawn alike, with the neighbourhoods of the targets."""

    def __init__(self, references: int, targets: int, *, seed: int) -> None:
        rng = np.random.default_rng(seed)
        clusters = max(references // 100, 1)
        centres = rng.normal(size=(clusters, D)) / np.sqrt(D)
        bases = rng.normal(size=(clusters, 16, D)) / (4.0 * np.sqrt(D))
        mean = rng.normal(size=D)
        mean *= 5.0 / np.linalg.norm(mean)

        def draw(count: int) -> np.ndarray:
            home = np.sort(rng.integers(0, clusters, size=count))
            inside = np.concatenate([rng.normal(size=(int((home == c).sum()), 16)) @ bases[c] for c in range(clusters)])
            noise = rng.normal(size=(count, D)).astype(np.float32) * np.float32(0.2 / np.sqrt(D))
            return (centres[home] + 0.5 * inside + mean).astype(np.float32) + noise

        self.library = draw(references)
        self.targets = draw(targets)
        self.transform = Transform(self.library.mean(axis=0).astype(np.float64), np.ones(D), None, False)
        names = [f"{i:07d}" for i in range(references)]
        self.index = index_library(self.library, names, self.transform)
        self.neighbours = self.retrieve()
        centred = self.library - self.library.mean(axis=0)
        self.spread = float(np.square(centred).sum(axis=1).mean())

    def retrieve(self) -> np.ndarray:
        found = nearest_prepared(self.library, self.index, self.targets, transform=self.transform, count=K)
        return found.indices

    def moments(self, variant: Variant, count: int) -> Moments:
        return gather_moments(self.library, self.neighbours[:count], self.targets[:count], variant=variant)


def penalties_of(moments: Moments, variant: Variant) -> np.ndarray:
    share = AFFINE_SHARE if variant is Variant.AFFINE else FREE_SHARE
    return share * largest_penalties(moments, variant=variant)


def solve(moments: Moments, penalty: np.ndarray, variant: Variant, spread: float) -> Solved:
    return solve_moments(
        moments,
        None,
        variant=variant,
        penalty=penalty,
        spread=spread,
        dimension=D,
        tolerance=AS_MUCH_AS_NUMERICS_ALLOW,
        accelerated=None,
    )


def fallbacks(solved: Solved) -> str:
    used = solved.by_ridge + solved.by_cvxpy
    return f"fallbacks {used} of {len(solved.gaps)} (cvxpy {solved.by_cvxpy}), failures {len(solved.failures)}"


def naive_cvxpy(atoms: np.ndarray, target: np.ndarray, penalty: float, variant: Variant) -> np.ndarray:
    """The problem as one would write it: d x k, built anew."""
    import cvxpy as cp

    w = cp.Variable(len(atoms))
    constraints = [cp.sum(w) == 1] if variant.sums_to_one else []
    if not variant.signed:
        constraints.append(w >= 0)
    objective = cp.Minimize(cp.sum_squares(target - atoms.T @ w) + penalty * cp.norm1(w))
    cp.Problem(objective, constraints).solve(solver=cp.CLARABEL)
    return np.asarray(w.value)


def against_cvxpy(data: Data, runs: int) -> Iterator[Result]:
    """From prototypes (Gram included) against naive cvxpy, and with the Gram given against its DPP form."""
    from tasks.projection.reference import solve_reference

    t = len(data.targets)
    for variant in (Variant.FREE, Variant.AFFINE, Variant.SIMPLEX, Variant.NONNEGATIVE):
        moments = data.moments(variant, t)
        penalty = penalties_of(moments, variant)
        solved = solve(moments, penalty, variant, data.spread)

        def whole(variant: Variant = variant, penalty: np.ndarray = penalty) -> None:
            solve(data.moments(variant, t), penalty, variant, data.spread)

        def naive(variant: Variant = variant, penalty: np.ndarray = penalty) -> None:
            for i in range(8):
                atoms = data.library[data.neighbours[i]].astype(np.float64)
                naive_cvxpy(atoms, data.targets[i].astype(np.float64), float(penalty[i]), variant)

        ours_s, peer_s = alternate(whole, naive, runs=runs, ours_items=t, peer_items=8)
        yield result(
            f"{variant.value}, Gram and certificate included",
            ours_s,
            "cvxpy naive CLARABEL",
            peer_s,
            error=float(solved.gaps.max()),
            asked=">= 200",
            note=fallbacks(solved),
        )

        def given(variant: Variant = variant, penalty: np.ndarray = penalty, moments: Moments = moments) -> None:
            solve(moments, penalty, variant, data.spread)

        def dpp(variant: Variant = variant, penalty: np.ndarray = penalty, moments: Moments = moments) -> None:
            for i in range(40):
                solve_reference(moments[i : i + 1], penalty=float(penalty[i]), variant=variant, precision=1e-9)

        ours_s, peer_s = alternate(given, dpp, runs=runs, ours_items=t, peer_items=40)
        yield result(
            f"{variant.value}, Gram given, certificate included",
            ours_s,
            "cvxpy DPP R-form CLARABEL",
            peer_s,
            error=float(solved.gaps.max()),
            asked=">= 80",
            note=fallbacks(solved),
        )


def against_lars(data: Data, runs: int) -> Iterator[Result]:
    """One penalty, and the path of 40 penalties down to a thousandth, against scikit-learn's LARS on the same Gram."""
    from sklearn.linear_model import lars_path_gram

    t = len(data.targets)
    moments = data.moments(Variant.FREE, t)
    penalty = penalties_of(moments, Variant.FREE)
    highest = largest_penalties(moments, variant=Variant.FREE)

    def lars(share: float) -> list[np.ndarray]:
        out = []
        for i in range(60):
            _, _, coefficients = lars_path_gram(
                Xy=moments.correlations[i].copy(),
                Gram=moments.gram[i].copy(),
                n_samples=1,
                method="lasso",
                alpha_min=share * float(highest[i]) / 2.0,
            )
            out.append(coefficients[:, -1])
        return out

    solved = solve(moments, penalty, Variant.FREE, data.spread)
    ours_s, peer_s = alternate(
        lambda: solve(moments, penalty, Variant.FREE, data.spread),
        lambda: lars(FREE_SHARE),
        runs=runs,
        ours_items=t,
        peer_items=60,
    )
    apart = float(np.abs(np.array(lars(FREE_SHARE)) - solved.weights[:60]).max())
    yield result(
        "free, Gram given, certificate included",
        ours_s,
        "scikit-learn lars_path_gram",
        peer_s,
        error=float(solved.gaps.max()),
        asked=">= 20",
        note=f"weights differ by {apart:.0e}",
    )
    few = min(t, 2000)
    some = moments[:few]
    grid = penalty_grid(highest[:few], lowest_share=1e-3, count=40)

    def our_paths() -> np.ndarray:
        return paths(some, ends=grid[:, -1], variant=Variant.FREE, allowed=None).at(grid)

    ours_s, peer_s = alternate(our_paths, lambda: lars(1e-3), runs=runs, ours_items=few, peer_items=60)
    along = our_paths()
    gaps = [relative_gaps(some, along[:, n], penalty=grid[:, n], variant=Variant.FREE).max() for n in range(40)]
    yield result(
        "free path evaluated at 40 penalties",
        ours_s,
        "scikit-learn lars_path_gram (knots only)",
        peer_s,
        error=float(max(gaps)),
        asked=">= 20",
    )


def against_celer(data: Data, runs: int) -> Iterator[Result]:
    """The whole library at once, certified, for a batch of targets and for one at a time."""
    from celer import Lasso

    library = data.library.astype(np.float64)
    columns = np.asfortranarray(library.T)
    longest = longest_of(data.library)
    top = np.abs(data.targets @ data.library.T).max(axis=1).astype(np.float64)
    penalty = 2.0 * FREE_SHARE * top
    start = 64

    def ours(some: slice) -> None:
        targets = data.targets[some]
        begin = most_correlated(data.library, targets, count=start)
        answers.extend(
            project_on_library(
                data.library,
                begin,
                targets,
                variant=Variant.FREE,
                penalty=penalty[some],
                spread=data.spread,
                longest=longest,
                tolerance=1e-8,
            )
        )

    def celer(count: int) -> None:
        for i in range(count):
            # celer's loss is halved and divided by the number of rows, and its tolerance relative to |y|^2 / rows.
            model = Lasso(alpha=penalty[i] / 2.0 / D, fit_intercept=False, tol=1e-6)
            model.fit(columns, data.targets[i].astype(np.float64))

    few = min(len(data.targets), 300)
    for count, size, asked in ((few, few, ">= 100"), (10, 1, ">= 15")):
        answers: list = []
        calls = [slice(first, first + size) for first in range(0, count, size)]
        ours_s, peer_s = alternate(
            lambda calls=calls: [ours(some) for some in calls],
            lambda count=count: celer(min(count, 3)),
            runs=runs,
            ours_items=count,
            peer_items=min(count, 3),
        )
        gap = max(answer.gap for answer in answers)
        lost = sum(answer.lost for answer in answers) / len(answers)
        rounds = sum(answer.rounds for answer in answers) / len(answers)
        yield result(
            f"free over a library of {len(library)}, {size} target{'s' * (size > 1)} at a time",
            ours_s,
            "celer, tolerance 1e-6",
            peer_s,
            error=gap,
            asked=asked,
            note=f"{rounds:.2f} rounds, the first {start} were not enough for {100 * lost:.0f} %",
        )


def end_to_end(data: Data, runs: int) -> Iterator[Result]:
    """Retrieve, Gram, solve, certify, against the two bare matrix products."""
    t = len(data.targets)
    blocks = range(0, len(data.library), 8192)
    ready = data.library[data.neighbours[: min(t, 256)]].astype(np.float64)

    def floor() -> None:
        for first in range(0, t, 256):
            for block in blocks:
                data.targets[first : first + 256] @ data.library[block : block + 8192].T
            some = ready[: min(256, t - first)]
            np.matmul(some, some.transpose(0, 2, 1))

    for variant in (Variant.FREE, Variant.AFFINE):
        penalty = penalties_of(data.moments(variant, t), variant)

        def ours(variant: Variant = variant, penalty: np.ndarray = penalty) -> None:
            found = data.retrieve()
            moments = gather_moments(data.library, found, data.targets, variant=variant)
            solve(moments, penalty, variant, data.spread)

        ours_s, floor_s = alternate(ours, floor, runs=runs, ours_items=t, peer_items=t)
        yield result(
            f"{variant.value}, end to end on {len(data.library)} references",
            ours_s,
            "the two bare matrix products (float32 library, float64 Gram)",
            floor_s,
            floor_s=floor_s,
            asked="ours at most 1.5 x, ratio >= 0.67",
        )


def main() -> None:
    asked = arguments(__doc__ or "")
    warnings.filterwarnings("ignore")
    runs = 1 if asked.quick else 3
    data = Data(300 if asked.quick else 10_000, 100 if asked.quick else 10_000, seed=0)
    if not asked.json:
        print(machine())
    for family in (against_cvxpy, against_lars, against_celer, end_to_end):
        if asked.only and asked.only not in family.__name__:
            continue
        for found in family(data, runs):
            report(found, as_json=asked.json)


if __name__ == "__main__":
    main()
