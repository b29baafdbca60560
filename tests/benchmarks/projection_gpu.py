"""A hundred thousand projections on a GPU against one CPU thread: `python -m tests.benchmarks.projection_gpu --json`.

The data are those of `tests.benchmarks.projection`, k = 32 and d = 1024. Wall clock, medians of alternating runs after
one that is not counted, seconds for each target; `whole` is from prototypes and neighbourhoods to certified
projections, the other lines its parts. `error` is the largest relative duality gap of what the GPU gave.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.benchmarks.timing import Result, alternate, one_thread, report, result, until_done

if __name__ == "__main__":
    one_thread()

import numpy as np

from tasks.projection.accelerated import gather_accelerated
from tasks.projection.exchange import exchange_weights
from tasks.projection.moments import gather_moments
from tasks.projection.solve import Projections, project_many
from tasks.projection.variants import Variant
from tests.benchmarks.projection import AS_MUCH_AS_NUMERICS_ALLOW, Data, penalties_of


def lines(data: Data, variant: Variant, runs: int, device: str) -> Iterator[Result]:
    """One output line for each part."""
    where = (data.library, data.neighbours, data.targets)
    moments = gather_moments(*where, variant=variant)
    penalty = penalties_of(moments, variant)
    there = gather_accelerated(*where, variant=variant, device=device)

    def whole(on: str | None) -> Projections:
        return project_many(
            *where,
            variant=variant,
            relative_penalty=penalty / data.spread,
            spread=data.spread,
            centre=data.library.mean(axis=0).astype(np.float64),
            tolerance=AS_MUCH_AS_NUMERICS_ALLOW,
            device=on,
        )

    parts: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
        "moments": (
            lambda: gather_accelerated(*where, variant=variant, device=device),
            lambda: gather_moments(*where, variant=variant),
        ),
        "supports": (
            lambda: there.exchange(moments, penalty=penalty, variant=variant),
            lambda: exchange_weights(moments, penalty=penalty, variant=variant, allowed=None),
        ),
        "whole": (lambda: whole(device), lambda: whole(None)),
    }
    error = max(one.duality_gap for one in whole(device).projections if one is not None)
    count = len(data.targets)
    for name, (ours, peer) in parts.items():
        ours_s, peer_s = alternate(
            until_done(ours, device), peer, runs=runs, ours_items=count, peer_items=count, clock=time.perf_counter
        )
        case = f"{variant.value}, {name}, {count} targets on {device}"
        yield result(case, ours_s, "the same on one CPU thread", peer_s, error=error if name == "whole" else None)


def main() -> None:
    """Run the cases and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--targets", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=1)
    asked = parser.parse_args()
    data = Data(10_000, asked.targets, seed=0)
    for variant in (Variant.FREE, Variant.AFFINE, Variant.SIMPLEX, Variant.NONNEGATIVE):
        for found in lines(data, variant, asked.runs, asked.device):
            report(found, as_json=asked.json)


if __name__ == "__main__":
    main()
