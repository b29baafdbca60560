"""Where a project's state lies. One place knows the layout; everything else asks it."""

from pathlib import Path

from flows.settings import Project


class Workspace:
    """Paths below a project's workspace."""

    def __init__(self, project: Project) -> None:
        self.root = project.workspace

    @property
    def prototypes(self) -> Path:
        """Parquet parts of the prototypes, references' and targets' alike."""
        return self.root / "prototypes"

    @property
    def pilot(self) -> Path:
        """How far the references lie apart, for `max_samples: auto`; settled once."""
        return self.root / "pilot.json"

    @property
    def compositions(self) -> Path:
        """Parquet parts of the compositions."""
        return self.root / "compositions"

    @property
    def calibration(self) -> Path:
        """The library's own centre and deviations, which prototypes are prepared by."""
        return self.root / "calibration" / "raw.parquet"

    def prepared_calibration(self, preparation: str, raw: str) -> Path:
        """The scale of the prepared prototypes, which penalties rest on; `raw` is the digest of what prepared them."""
        return self.root / "calibration" / f"{preparation}-{raw}.parquet"

    def covariance(self, raw: str) -> Path:
        """The samples' covariance within a task, which whitening rests on; settled with the calibration `raw`."""
        return self.root / "calibration" / f"covariance-{raw}.npy"

    @property
    def audit(self) -> Path:
        """What the audit measured on the library's own references."""
        return self.root / "audit"

    def choice(self, target: str) -> Path:
        """Why the last night chose a target's rule."""
        return self.root / "choices" / f"{target}.json"

    @property
    def memory(self) -> Path:
        """Digests by file stamp, and validation verdicts by content; an aid, never the truth."""
        return self.root / "memory.json"

    @property
    def artifacts(self) -> Path:
        """MLflow's artifact root, for the embedded store."""
        return self.root / "artifacts"

    @property
    def lock(self) -> Path:
        """Held by the one run that may write here."""
        return self.root / "lock"

    def adapter(self, target: str, digest: str) -> Path:
        """Directory of a blended adapter."""
        return self.root / "adapters" / target / digest

    def champion(self, target: str, version: str) -> Path:
        """Where a champion's adapter is fetched to, to be scored beside its challenger."""
        return self.root / "champions" / target / version

    def checkpoint(self, reference: str) -> Path:
        """Where an unfinished training goes on from."""
        return self.root / "training" / f"{reference}.safetensors"

    def pictures(self, target: str, digest: str) -> Path:
        """Directory of a target's charts; `digest` names what they show."""
        return self.root / "pictures" / target / digest

    def evaluation(self, target: str, digest: str) -> Path:
        """Directory of a target's scores and picture."""
        return self.root / "evaluations" / target / digest
