"""One line of the catalogue, as the user wrote it, with its paths made absolute."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """A reference or a target. Local paths are absolute; `samples` and `evaluation` may be fsspec URLs.

    `adapter` is a reference's PEFT directory; for a target it is the ceiling, only evaluated. An empty `samples`
    means that none was given: validation reports it, so that one bad line does not hide the others.
    """

    name: str
    adapter: str | None
    samples: str
    evaluation: str | None
    description: str | None


def lines_of(description: str | None) -> list[str]:
    """The lines of a description that say something; they are the samples of a task that has no others."""
    return [line.strip() for line in (description or "").splitlines() if line.strip()]
