"""UI: MLflow's own pages on this project's runs and models."""

import os
import sys

from flows.settings import Project
from flows.workspace import Workspace


def serve_ui(project: Project, *, port: int) -> None:
    """Become MLflow's server on the loopback address; does not return."""
    artifacts = Workspace(project).artifacts.as_uri()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", project.tracking_uri, "--default-artifact-root", artifacts]
    # Its job runner starts seven processes that nothing here uses.
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    os.execve(sys.executable, command, {**os.environ, **quiet})
