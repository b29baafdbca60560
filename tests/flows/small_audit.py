"""A small audit of a project in a process of its own: `python -m tests.flows.small_audit PROJECT audit|decide`."""

import json
import sys
from dataclasses import asdict
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from flows.audit_settings import AuditSettings
from flows.services import prefect_server
from flows.settings import load_project

SMALL = AuditSettings(halves=2, pools=1, transfers=2, penalties=(0.1,), preparations=("raw",))


def _decided(project: Path) -> list[dict[str, Any]]:
    from flows.auditing import policy_of, rules_of, transforms_of
    from flows.refresh import refresh_library
    from flows.run import open_run
    from tasks.audit.deciding import decide
    from tasks.audit.store import read_results

    with open_run(project) as run:
        library = refresh_library(run)
        decisions = decide(
            list(library.target_prototypes.values()),
            library.references,
            read_results(run.workspace.root / "audit"),
            rules_of(SMALL),
            transforms_of(library.references, SMALL),
            policy=policy_of(SMALL),
            used=SMALL.features,
            neighbours=32,
            tolerance=1e-6,
        )
    return [
        {"target": one.target, "rule": one.choice.rule.name, "similar": [asdict(s) for s in one.similar]}
        for one in decisions
    ]


def _audited(project: Path) -> dict[str, Any]:
    from flows.audit import audit_library
    from flows.refresh import refresh_library
    from flows.run import open_run

    with open_run(project) as run:
        return audit_library(run, refresh_library(run), SMALL)


def main(project: Path, what: str) -> None:
    # Prefect reads its settings when it is imported: the server must be there before.
    with prefect_server(load_project(project).workspace, scheduling=False, ahead=partial(import_module, "flows.audit")):
        from prefect import flow

        print(json.dumps(flow(name=what)(_audited if what == "audit" else _decided)(project)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
