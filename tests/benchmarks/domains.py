"""Leave-one-task-out on real data in three domains: does composing adapters help, against which rival, and where?

    python -m tests.benchmarks.domains --data DIR --json [--domain NAME ...] [--seeds 0 1 2] [--write FILE]

Every base was pre-trained on synthetic data or on inputs alone, every task has its own adapter, and each task is a
target once, its own adapter left out of the library; once more, its siblings are left out as well. Units are cached:
an interrupted run goes on. LoraHub, TIES, DARE and Arrow are measured on the full library only, every reference alone
with the first seed only. Each unit is one JSON line; `--write` puts the tables into the section "## Domains".
"""

import argparse
import json
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from tests.benchmarks.domain.report import domains_text, summary
from tests.benchmarks.domain.tasks import DOMAINS, lay_out, siblings


def main() -> None:
    """Run what is asked for and is not in the cache, and print it."""
    asked = _arguments()
    results = []
    with ProcessPoolExecutor(asked.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for name in asked.domain:
            for seed in asked.seeds:
                results += _seed(pool, name, seed, asked)
    for name in asked.domain:
        print(json.dumps(summary([one for one in results if one["domain"] == name])), flush=True)
    if asked.write is not None:
        asked.write.write_text(domains_text(asked.write, results, " ".join(sys.argv[1:])), encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = os.environ.get("TESSERAE_DATA")
    parser.add_argument("--data", type=Path, default=data and Path(data), required=data is None)
    parser.add_argument("--domain", nargs="+", choices=sorted(DOMAINS), default=sorted(DOMAINS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--cache", type=Path, default=Path("domains-cache"))
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--write", type=Path, default=None)
    parser.add_argument("--json", action="store_true", help="one JSON object a line (the only format)")
    return parser.parse_args()


def _seed(pool: ProcessPoolExecutor, name: str, seed: int, asked: argparse.Namespace) -> list[dict[str, Any]]:
    """One domain with one seed: base, adapters, prototypes, then every target in both libraries."""
    # Imported here: torch and its kin are for the worker processes, and for this one only when there is work.
    from tests.benchmarks.domain.units import (
        Place,
        make_adapter,
        make_base,
        make_prototypes,
        make_scores,
        read_scores,
    )

    folder = asked.cache / name
    names = lay_out(DOMAINS[name], asked.data, folder / "tasks")
    place = Place(name, seed, folder.resolve(), names)
    pool.submit(make_base, place).result()
    _all(pool, make_adapter, [(place, one) for one in names])
    prototypes = pool.submit(make_prototypes, place).result()
    units = [(place, one, False, prototypes) for one in names]
    units += [(place, one, True, prototypes) for one in names if siblings(one, names)]
    results = [read_scores(path) for path in _all(pool, make_scores, units)]
    for one in results:
        print(json.dumps(one), flush=True)
    return results


def _all(pool: ProcessPoolExecutor, unit: Callable[..., Any], arguments: Iterable[tuple[Any, ...]]) -> list[Any]:
    jobs = [pool.submit(unit, *one) for one in arguments]
    for count, job in enumerate(as_completed(jobs), start=1):
        job.result()
        print(f"{unit.__name__}: {count} of {len(jobs)}", file=sys.stderr, flush=True)
    return [job.result() for job in jobs]


if __name__ == "__main__":
    main()
