"""What went wrong, in a form that can be listed: the thing, the cause and the remedy."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in the input that has to change before work can start."""

    item: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        """One line: what, why, what to do."""
        return f"{self.item}: {self.problem}; {self.remedy}"


@dataclass(frozen=True, slots=True)
class Failure:
    """An item that failed while the others went on."""

    item: str
    stage: str
    error: str
    remedy: str


class InvalidInput(ValueError):
    """Raised with every problem that was found, never with the first one alone."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems

    def __reduce__(self) -> tuple[type["InvalidInput"], tuple[Problem, ...]]:
        """Survive the trip from a worker process with the problems intact."""
        return type(self), self.problems
