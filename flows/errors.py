"""Why a run could not start although its input is sound."""


class WorkspaceBusy(RuntimeError):
    """Another run is writing to the same workspace."""
