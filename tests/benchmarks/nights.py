"""A night over many new targets without labels, and one in which nothing changed: `python -m tests.benchmarks.nights`.

Twenty references and as many targets as asked, on a tiny ViT: nearly all of the time is what a target costs beside its
model. Wall clock of the whole command, with a Prefect server of its own; one JSON object a line.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import yaml

from tests.benchmarks.commands import tesserae
from tests.library.projects import PIXELS, random_rows, save_adapter, save_base, save_samples

REFERENCES, SAMPLES, PARTS = 20, 16, 4


def write_project(root: Path, targets: int) -> None:
    """References far apart, and targets between four of them each."""
    save_base(root)
    generator = np.random.default_rng(0)
    places = 3.0 * np.eye(PIXELS)[:REFERENCES]
    for number, place in enumerate(places):
        save_adapter(root / "library" / f"reference{number:02d}" / "adapter")
        rows = place + np.array(random_rows(SAMPLES, number))
        save_samples(root / "library" / f"reference{number:02d}" / "samples.parquet", rows.tolist())
    entries = []
    for number in range(targets):
        chosen = generator.choice(REFERENCES, PARTS, replace=False)
        rows = generator.dirichlet(np.ones(PARTS)) @ places[chosen] + np.array(random_rows(SAMPLES, 1000 + number))
        save_samples(root / "targets" / f"t{number:05d}.parquet", rows.tolist())
        entries.append({"name": f"t{number:05d}", "samples": f"targets/t{number:05d}.parquet"})
    settings = {"base_model": "base", "family": "encoder", "library": "library/*", "targets": entries}
    (root / "project.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")


def main() -> None:
    """Run both nights and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object a line (the only form there is)")
    parser.add_argument("--targets", type=int, default=200)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        project.mkdir()
        write_project(project, asked.targets)
        for case in ("all new", "nothing changed"):
            _, spent = tesserae("nightly", project)
            print(json.dumps({"case": f"{asked.targets} targets, {case}", "ours_s": round(spent, 1)}))


if __name__ == "__main__":
    main()
