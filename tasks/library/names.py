"""Names become paths, model names and tags, so they are checked before any of that."""

import re
from collections import Counter
from collections.abc import Sequence

from tasks.files import Problem

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def is_safe(name: str) -> bool:
    """Whether `name` is 1 to 100 letters, digits, dots, dashes and underscores, and starts with a letter or a digit."""
    return _SAFE.fullmatch(name) is not None


def name_problems(names: Sequence[str]) -> dict[int, Problem]:
    """The problem of every unsafe or repeated name, by position. Of two bearers of one name neither is right."""
    times = Counter(names)
    problems: dict[int, Problem] = {}
    for position, name in enumerate(names):
        if not name:
            problems[position] = Problem(f"entry {position + 1}", "has no name", "give it a name")
        elif not is_safe(name):
            remedy = "use letters, digits, dots, dashes and underscores, at most 100, starting with a letter or a digit"
            problems[position] = Problem(name, "its name cannot become a path", remedy)
        elif times[name] > 1:
            problems[position] = Problem(name, f"the name is used {times[name]} times", "give every entry its own name")
    return problems
