"""What every section of the project file is made from."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """Immutable, and strict about names: a misspelt key must never be ignored in silence."""

    model_config = ConfigDict(frozen=True, extra="forbid")
