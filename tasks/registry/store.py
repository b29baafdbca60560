"""The MLflow side: one experiment per project, one run per night, one child run and one registered model per target.

Only explicit run ids are used, never MLflow's fluent state: several runs may live in one process.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

CHAMPION = "champion"
CHALLENGER = "challenger"
# MLflow refuses more in one call.
_METRICS_PER_BATCH = 1000
_PARAMS_PER_BATCH = 100
_MODELS_PER_SEARCH = 200  # names in one question; a database takes a thousand of them or so


@dataclass(frozen=True, slots=True)
class Version:
    """A registered model version."""

    model: str
    version: str
    run_id: str
    tags: Mapping[str, str]
    aliases: tuple[str, ...]


def _is(error: MlflowException, code: int) -> bool:
    return bool(error.error_code == ErrorCode.Name(code))


def _chunks(values: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]


def _pages(search: Callable[..., Any], question: str) -> Iterator[Any]:
    """Everything that a search finds, page by page."""
    token = None
    while True:
        page = search(question, max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _aliases_of(model: Any) -> dict[str, str]:
    """Versions by alias of a registered model: ints from a database, strings over HTTP."""
    return {alias: str(version) for alias, version in model.aliases.items()}


class Registry:
    """Runs and versions of one project. Meant to be the only writer: SQLite slows tenfold with three."""

    def __init__(self, tracking_uri: str, *, experiment: str, artifacts: Path) -> None:
        self._client = MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)
        self._experiment = self._open_experiment(experiment, artifacts)

    def _open_experiment(self, name: str, artifacts: Path) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        artifacts.mkdir(parents=True, exist_ok=True)
        return str(self._client.create_experiment(name, artifact_location=artifacts.resolve().as_uri()))

    def start_run(
        self, name: str, *, tags: Mapping[str, str], parent: str | None = None, start_ms: int | None = None
    ) -> str:
        """Open a run, below `parent` where one is given, begun at `start_ms` where that was earlier; returns its id."""
        lineage = {MLFLOW_PARENT_RUN_ID: parent} if parent else {}
        run = self._client.create_run(self._experiment, start_ms, {**tags, **lineage}, name)
        return str(run.info.run_id)

    def log(self, run_id: str, *, metrics: Mapping[str, float], params: Mapping[str, str], now_ms: int) -> None:
        """Log values in as few calls as MLflow's limits allow."""
        points = [Metric(key, float(value), now_ms, 0) for key, value in metrics.items()]
        for batch in _chunks(points, _METRICS_PER_BATCH):
            self._client.log_batch(run_id, metrics=batch)
        for batch in _chunks([Param(key, value) for key, value in params.items()], _PARAMS_PER_BATCH):
            self._client.log_batch(run_id, params=batch)

    def log_curve(self, run_id: str, points: Sequence[tuple[int, Mapping[str, float]]], *, now_ms: int) -> None:
        """Log metrics by step."""
        values = [Metric(key, float(value), now_ms, step) for step, by in points for key, value in by.items()]
        for batch in _chunks(values, _METRICS_PER_BATCH):
            self._client.log_batch(run_id, metrics=batch)

    def log_directory(self, run_id: str, directory: Path, *, under: str | None) -> None:
        """Copy a directory's files into the run's artifacts."""
        self._client.log_artifacts(run_id, str(directory), under)

    def log_file(self, run_id: str, path: Path) -> None:
        """Copy one file into the run's artifacts."""
        self._client.log_artifact(run_id, str(path))

    def log_json(self, run_id: str, value: Any, name: str) -> None:
        """Store a value as a JSON artifact."""
        self._client.log_dict(run_id, value, name)

    def log_text(self, run_id: str, text: str, name: str) -> None:
        """Store a text artifact."""
        self._client.log_text(run_id, text, name)

    def log_figure(self, run_id: str, figure: Any, name: str) -> None:
        """Store a matplotlib figure as a picture."""
        self._client.log_figure(run_id, figure, name, save_kwargs={"dpi": 120})

    def end_run(self, run_id: str, *, succeeded: bool) -> None:
        """Close a run."""
        self._client.set_terminated(run_id, status="FINISHED" if succeeded else "FAILED")

    def register(self, model: str, *, run_id: str, tags: Mapping[str, str]) -> Version:
        """Make a version of the adapter that stands in the run's artifacts under `adapter`."""
        try:
            self._client.create_registered_model(model)
        except MlflowException as error:
            if not _is(error, RESOURCE_ALREADY_EXISTS):
                raise
        uri = self._client.get_run(run_id).info.artifact_uri
        made = self._client.create_model_version(
            model, source=f"{uri}/adapter", run_id=run_id, tags=dict(tags), await_creation_for=0
        )
        return Version(model, str(made.version), run_id, dict(tags), ())

    def tag(self, version: Version, tags: Mapping[str, str]) -> None:
        """Set tags of a version."""
        for key, value in tags.items():
            self._client.set_model_version_tag(version.model, version.version, key, value)

    def move_alias(self, version: Version, alias: str) -> None:
        """Point an alias of the model at this version."""
        self._client.set_registered_model_alias(version.model, alias, version.version)

    def drop_alias(self, model: str, alias: str) -> None:
        """Remove an alias where it exists."""
        self._client.delete_registered_model_alias(model, alias)

    def by_alias(self, model: str, alias: str) -> Version | None:
        """The version an alias points at, or None."""
        try:
            found = self._client.get_model_version_by_alias(model, alias)
        except MlflowException:
            # MLflow answers a missing model and a missing alias with different codes across stores.
            return None
        return self._version(found, self._aliases(model))

    def by_digest(self, model: str, digest: str) -> Version | None:
        """The version made from the composition with this digest, or None."""
        return self.by_digests({model: digest}).get(model)

    def by_digests(self, digests: Mapping[str, str]) -> dict[str, Version]:
        """By model, the version made from the composition with its digest, where there is one.

        Two questions for hundreds of models; one by one, they take thirty milliseconds each.
        """
        found: dict[str, Version] = {}
        for models in _chunks(sorted(digests), _MODELS_PER_SEARCH):
            names = "name IN ({})".format(", ".join(f"'{model}'" for model in models))
            aliases = {one.name: _aliases_of(one) for one in _pages(self._client.search_registered_models, names)}
            for version in _pages(self._client.search_model_versions, names):
                if version.tags.get("digest") == digests[version.name]:
                    # The newest comes first.
                    found.setdefault(version.name, self._version(version, aliases.get(version.name, {})))
        return found

    def _aliases(self, model: str) -> Mapping[str, str]:
        # Searches return versions without their aliases; only the model knows them.
        try:
            return _aliases_of(self._client.get_registered_model(model))
        except MlflowException as error:
            if _is(error, RESOURCE_DOES_NOT_EXIST):
                return {}
            raise

    @staticmethod
    def _version(found: Any, aliases: Mapping[str, str]) -> Version:
        version = str(found.version)  # an int from a database, a string over HTTP
        own = tuple(sorted(alias for alias, target in aliases.items() if target == version))
        return Version(found.name, version, found.run_id, dict(found.tags), own)

    def download(self, version: Version, directory: Path) -> Path:
        """A local copy of a version's adapter directory, below `directory`."""
        directory.mkdir(parents=True, exist_ok=True)
        return Path(self._client.download_artifacts(version.run_id, "adapter", str(directory)))
