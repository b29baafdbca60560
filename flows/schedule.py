"""Schedule: serve the nightly flow through Prefect; one run at a time, an overlapping one is cancelled."""

import importlib
from functools import partial

from flows.services import prefect_server
from flows.settings import Project


def serve_nightly(project: Project, *, cron: str | None, port: int | None) -> None:
    """Serve until interrupted; starts a Prefect server unless PREFECT_API_URL names one."""
    with prefect_server(
        project.workspace, scheduling=True, ahead=partial(importlib.import_module, "flows.nightly"), port=port
    ):
        from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
        from prefect.deployments.runner import EntrypointType
        from prefect.schedules import Cron

        from flows.nightly import nightly

        when = Cron(cron or project.settings.schedule.cron, timezone=project.settings.schedule.timezone)
        nightly.serve(
            name=project.name,
            parameters={"project": str(project.file)},
            schedule=when,
            global_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW),
            limit=1,
            entrypoint_type=EntrypointType.MODULE_PATH,
            print_starting_message=False,
        )
