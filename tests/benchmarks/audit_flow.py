"""The audit as one run: `tesserae audit` on two workers against bare evaluation of as many single adapters.

    python -m tests.benchmarks.audit_flow --json [--references 200] [--rounds 3]

The library is the digits example's, each condition many times over with small changes to its adapter and its
samples; its prototypes are there before. Ours is the flow's own time, from reading the library to the report in MLflow.
The peer is two plain processes that load half of as many single adapters each with PEFT, one at a time, and score each
on a reference's labelled samples. Both start their processes and load the base.
"""

import argparse
import json
import shutil
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import yaml
from safetensors.numpy import load_file, save_file

from tasks.files import DigestCache
from tasks.library.base_model import BaseModel, resolve_base
from tasks.library.families import Family
from tests.benchmarks.commands import seconds_of_processes, tesserae

WORKERS = 2
# One rule of each kind on each left-out reference, its own adapter, and one other reference's.
AUDIT = {"halves": 0, "pools": 0, "transfers": 1, "penalties": [0.1], "preparations": ["raw"], "minutes": 600}


def varied(source: Path, folder: Path, generator: np.random.Generator) -> None:
    """A reference like `source`: its adapter with a little noise, its rows in another order and one in ten left out."""
    (folder / "adapter").mkdir(parents=True)
    factors = load_file(source / "adapter" / "adapter_model.safetensors")
    noisy = {
        name: (value + 0.05 * value.std() * generator.standard_normal(value.shape)).astype(value.dtype)
        for name, value in factors.items()
    }
    save_file(noisy, folder / "adapter" / "adapter_model.safetensors")
    (folder / "adapter" / "adapter_config.json").write_bytes((source / "adapter" / "adapter_config.json").read_bytes())
    for name in ("samples.parquet", "evaluation.parquet"):
        table = pq.read_table(source / name)
        kept = generator.permutation(table.num_rows)[: int(0.9 * table.num_rows)]
        pq.write_table(table.take(kept), folder / name)


def library(root: Path, references: int) -> list[str]:
    """Make the project; returns the references' names."""
    tesserae("example", root, "--domain", "digits")
    settings = yaml.safe_load((root / "project.yaml").read_text(encoding="utf-8"))
    sources = [root / "library" / entry["name"] for entry in settings["library"]]
    generator, names = np.random.default_rng(0), [f"r{number:04d}" for number in range(references)]
    for number, name in enumerate(names):
        varied(sources[number % len(sources)], root / "many" / name, generator)
    kinds = {"adapter": "adapter", "samples": "samples.parquet", "evaluation": "evaluation.parquet"}
    settings["library"] = [
        {"name": name, **{kind: f"many/{name}/{file}" for kind, file in kinds.items()}} for name in names
    ]
    settings |= {"targets": settings["targets"][:1], "audit": {**AUDIT, "references": references}}
    settings["cluster"] = {"kind": "local", "workers": WORKERS}
    (root / "project.yaml").write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    return names


def bare(root: Path, base: BaseModel, pairs: Sequence[tuple[str, str]]) -> None:
    """What one plain process does: each pair's adapter on its reference's labelled samples."""
    import torch
    from peft import PeftModel

    from tasks.evaluation.applied import kept
    from tasks.evaluation.examiners.opening import open_examiner
    from tasks.evaluation.examiners.setting import Setting

    torch.set_num_threads(1)
    many, opened = root / "many", {}
    for on, adapter in pairs:
        if on not in opened:
            opened = {
                on: open_examiner(Setting(Family.ENCODER, base, str(many / on / "evaluation.parquet"), "cpu", 64, 0))
            }
        with kept(opened[on].base):
            opened[on].examine(PeftModel.from_pretrained(opened[on].base, many / adapter / "adapter").eval())


def work_of(root: Path, names: Sequence[str], count: int) -> list[tuple[Path, BaseModel, list[tuple[str, str]]]]:
    """What two processes do that score `count` single adapters, as many on each reference."""
    base = resolve_base("base", None, root, DigestCache())
    each = -(-count // len(names))
    pairs = [(on, names[(row + step) % len(names)]) for row, on in enumerate(names) for step in range(each)][:count]
    half = -(-count // WORKERS)
    return [(root, base, pairs[first : first + half]) for first in range(0, count, half)]


def measured(root: Path, names: Sequence[str]) -> tuple[float, float, int]:
    """Seconds of a first audit, of the peer right after it, and the number of scores."""
    shutil.rmtree(root / "workspace" / "audit", ignore_errors=True)
    report, _ = tesserae("audit", root)
    return report["seconds"], seconds_of_processes(bare, work_of(root, names, report["scored"])), report["scored"]


def main() -> None:
    """Run the case and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="the only form there is")
    parser.add_argument("--references", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3, help="ours and the peer in turn; medians are printed")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "project"
        names = library(root, asked.references)
        tesserae("refresh", root)
        rounds = [measured(root, names) for _ in range(asked.rounds)]
    ours_s, peer_s = (statistics.median(seconds) for seconds in list(zip(*rounds, strict=True))[:2])
    found = {
        "case": f"audit of {asked.references} references, {rounds[0][2]} scores, {WORKERS} workers",
        "ours_s": round(ours_s, 1),
        "peer": f"{WORKERS} processes, PEFT from_pretrained and the same evaluation, one adapter at a time",
        "peer_s": round(peer_s, 1),
        "ratio": round(peer_s / ours_s, 3),
        "floor_s": None,
        "error": None,
        "rounds": [[round(ours, 1), round(peer, 1)] for ours, peer, _ in rounds],
    }
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
