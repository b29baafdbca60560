"""Leave-one-task-out on real data in three domains: does composing adapters help, against which rival, and where?

    python -m tests.benchmarks.domains --data DIR --json [--domain NAME ...] [--seeds 0 1 2] [--write FILE]
                                      [--held | --without-scores]

Every base was pre-trained on synthetic data or on inputs alone, every task has its own adapter, and each task is a
target once, its own adapter left out of the library; once more, its siblings are left out as well. Units are cached:
an interrupted run goes on. LoraHub, TIES, DARE and Arrow are measured on the full library only, every reference alone
with the first seed only. Each unit is one JSON line; `--write` puts the tables into the section "## Domains". `--held`
computes nothing: it reports what the cache holds, of each library only the seeds that all targets were measured with.
`--without-scores` ends with the adapters and prototypes, all that the audit's benchmark asks of the cache.
"""

import argparse
import json
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from tests.benchmarks.domain.document import domains_text
from tests.benchmarks.domain.report import summary
from tests.benchmarks.domain.tasks import DOMAINS, lay_out, siblings

SEEDS = [0, 1, 2]


def main() -> None:
    """Run what is asked for and is not in the cache, and print it."""
    asked = _arguments()
    results = []
    with ProcessPoolExecutor(asked.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for name in asked.domain:
            for seed in asked.seeds:
                if asked.without_scores:
                    _prepared(pool, name, seed, asked)
                else:
                    results += _held(name, seed, asked) if asked.held else _seed(pool, name, seed, asked)
    for name in sorted({one["domain"] for one in results}):
        print(json.dumps(summary([one for one in results if one["domain"] == name])), flush=True)
    if asked.write is not None:
        asked.write.write_text(domains_text(asked.write, results, _command(asked)), encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = os.environ.get("TESSERAE_DATA")
    parser.add_argument("--data", type=Path, default=data and Path(data), required=data is None)
    parser.add_argument("--domain", nargs="+", choices=sorted(DOMAINS), default=sorted(DOMAINS))
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument("--cache", type=Path, default=Path("domains-cache"))
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--held", action="store_true", help="report what the cache holds and compute nothing")
    only.add_argument("--without-scores", action="store_true", help="make adapters and prototypes, and score nothing")
    parser.add_argument("--write", type=Path, default=None)
    parser.add_argument("--json", action="store_true", help="one JSON object a line (the only format)")
    return parser.parse_args()


def _command(asked: argparse.Namespace) -> str:
    """The arguments that matter to a reader: no path of this machine, and not how the cache was filled."""
    chosen = "" if asked.domain == sorted(DOMAINS) else f" --domain {' '.join(asked.domain)}"
    seeds = "" if asked.seeds == SEEDS else f" --seeds {' '.join(str(seed) for seed in asked.seeds)}"
    return f"--data DIR --json{chosen}{seeds} --write FILE"


def _prepared(pool: ProcessPoolExecutor, name: str, seed: int, asked: argparse.Namespace) -> tuple[Any, Any]:
    """One domain with one seed: where it is kept, with base and adapters made, and its prototypes."""
    # Imported here: torch and its kin are for the worker processes, and for this one only when there is work.
    from tests.benchmarks.domain.units import Place, make_adapter, make_base, make_prototypes

    folder = asked.cache / name
    names = lay_out(DOMAINS[name], asked.data, folder / "tasks")
    place = Place(name, seed, folder.resolve(), names)
    pool.submit(make_base, place).result()
    _all(pool, make_adapter, [(place, one) for one in names])
    return place, pool.submit(make_prototypes, place).result()


def _seed(pool: ProcessPoolExecutor, name: str, seed: int, asked: argparse.Namespace) -> list[dict[str, Any]]:
    """One domain with one seed: base, adapters, prototypes, then every target in both libraries."""
    from tests.benchmarks.domain.units import make_scores, read_scores

    place, prototypes = _prepared(pool, name, seed, asked)
    units = [(place, one, left_out, prototypes) for one, left_out in _units(place.names)]
    results = [read_scores(path) for path in _all(pool, make_scores, units)]
    for one in results:
        print(json.dumps(one), flush=True)
    return results


def _units(names: Sequence[str]) -> list[tuple[str, bool]]:
    """(target, whether its siblings are left out too) of one seed."""
    return [(one, False) for one in names] + [(one, True) for one in names if siblings(one, names)]


def _held(name: str, seed: int, asked: argparse.Namespace) -> list[dict[str, Any]]:
    """The stored results of one seed, without those of a library that not all targets were measured with."""
    from tests.benchmarks.domain.units import Place, read_scores, scores_path

    folder = asked.cache / name
    names = lay_out(DOMAINS[name], asked.data, folder / "tasks")
    place = Place(name, seed, folder.resolve(), names)
    results = []
    for left_out in (False, True):
        paths = [scores_path(place, one, left_out) for one, side in _units(names) if side == left_out]
        if all(path.exists() for path in paths):
            results += [read_scores(path) for path in paths]
    return results


def _all(pool: ProcessPoolExecutor, unit: Callable[..., Any], arguments: Iterable[tuple[Any, ...]]) -> list[Any]:
    jobs = [pool.submit(unit, *one) for one in arguments]
    for count, job in enumerate(as_completed(jobs), start=1):
        job.result()
        print(f"{unit.__name__}: {count} of {len(jobs)}", file=sys.stderr, flush=True)
    return [job.result() for job in jobs]


if __name__ == "__main__":
    main()
