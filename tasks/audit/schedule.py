"""Whom a night audits: the stalest references first, so that the picture of a large library stays fresh."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from tasks.files import digest_value


def stalest_first(names: Sequence[str], audited_at: Mapping[str, datetime], *, seed: int) -> tuple[str, ...]:
    """References in the order to audit them: never audited, then by age; a seeded draw among equals."""

    def age(name: str) -> tuple[float, str]:
        when = audited_at.get(name)
        return (float("-inf") if when is None else when.timestamp()), digest_value([seed, name])

    return tuple(sorted(names, key=age))
