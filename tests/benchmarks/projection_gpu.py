"""A hundred thousand projections on a GPU against one CPU thread: `python -m tests.benchmarks.projection_gpu --json`.

The data are those of `tests.benchmarks.projection`, k = 32 and d = 1024. Wall clock, medians of alternating runs after
one that is not counted; `whole` is from prototypes and neighbourhoods to certified projections, the other lines its
parts. `error` is the largest relative duality gap of what the GPU gave.
"""

import argparse
import json
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from tests.benchmarks.timing import one_thread

if __name__ == "__main__":
    one_thread()

import numpy as np

from tasks.projection.accelerated import gather_accelerated
from tasks.projection.exchange import exchange_weights
from tasks.projection.moments import gather_moments
from tasks.projection.solve import project_many
from tasks.projection.variants import Variant
from tests.benchmarks.projection import AS_MUCH_AS_NUMERICS_ALLOW, Data, penalties_of


def seconds(work: Callable[[], Any], device: str) -> tuple[float, Any]:
    """Until the device has done the work, and what it gave."""
    import torch

    started = time.perf_counter()
    found = work()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - started, found


def alternate(runs: dict[str, Callable[[], Any]], repeats: int, device: str) -> tuple[dict[str, float], dict[str, Any]]:
    """Median seconds of each, run in turn, and what it gave last; a first round is not counted."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    found: dict[str, Any] = {}
    for _ in range(repeats + 1):
        for name, run in runs.items():
            spent, found[name] = seconds(run, device)
            taken[name].append(spent)
    return {name: median(all_[1:]) for name, all_ in taken.items()}, found


def lines(data: Data, variant: Variant, repeats: int, device: str) -> list[dict[str, Any]]:
    """One output line for each part."""
    where = (data.library, data.neighbours, data.targets)
    moments = gather_moments(*where, variant=variant)
    penalty = penalties_of(moments, variant)
    there = gather_accelerated(*where, variant=variant, device=device)

    def whole(on: str | None) -> Any:
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
    out = []
    for name, (ours, peer) in parts.items():
        taken, found = alternate({"ours": ours, "peer": peer}, repeats, device)
        line = {
            "case": f"{variant.value}, {name}, {len(data.targets)} targets on {device}",
            "ours_s": round(taken["ours"], 3),
            "peer": "the same on one CPU thread",
            "peer_s": round(taken["peer"], 3),
            "ratio": round(taken["peer"] / taken["ours"], 2),
        }
        if name == "whole":
            line["error"] = max(one.duality_gap for one in found["ours"].projections)
        out.append(line)
    return out


def main() -> None:
    """Run the cases and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object a line (the only form there is)")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--targets", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=1)
    asked = parser.parse_args()
    data = Data(10_000, asked.targets, seed=0)
    for variant in (Variant.FREE, Variant.AFFINE, Variant.SIMPLEX, Variant.NONNEGATIVE):
        for line in lines(data, variant, asked.repeats, asked.device):
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
