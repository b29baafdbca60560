"""Whether an adapter directory will load: by the table of rules, and by loading where the loader is at hand."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.blending.consumers import Consumer
from tasks.blending.doctor_facts import Facts, gather
from tasks.blending.doctor_rules import RULES


@dataclass(frozen=True, slots=True)
class Broken:
    """A rule that the directory breaks: its name, what was found, and the remedy."""

    rule: str
    found: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a consumer loads the directory rightly; `verified` says by what: "loading" or "table"."""

    loads: bool
    verified: str
    broken: tuple[Broken, ...]


# Loads the directory for real and returns what went wrong, or None.
Trial = Callable[[Path, Facts], str | None]


def examine(
    directory: Path, consumers: Sequence[Consumer], trials: Mapping[Consumer, Trial]
) -> dict[Consumer, Verdict]:
    """A verdict for each consumer. A trial runs only where the table finds nothing: a rule's remedy says more."""
    facts = gather(directory)
    verdicts = {}
    for consumer in consumers:
        broken = [
            Broken(rule.name, found, rule.remedy)
            for rule in RULES
            if consumer in rule.consumers and (found := rule.check(facts)) is not None
        ]
        trial = trials.get(consumer)
        if not broken and trial is not None and (fault := trial(directory, facts)) is not None:
            broken.append(Broken(f"{consumer.value} loads it", fault, "save the adapter again, or blend it alone"))
        tried = trial is not None and (not broken or broken[0].rule.endswith("loads it"))
        verdicts[consumer] = Verdict(not broken, "loading" if tried else "table", tuple(broken))
    return verdicts
