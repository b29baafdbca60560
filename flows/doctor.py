"""`tesserae doctor`: whether an adapter directory will load there, and what has to change if not."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.blending.consumers import Consumer
from tasks.files import InvalidInput, Problem


def doctor(directory: Path, consumers: Sequence[Consumer]) -> dict[str, Any]:
    """Verdicts on `directory` for each consumer, for all of them when none is named. Raises InvalidInput if absent."""
    if not directory.is_dir():
        raise InvalidInput(Problem(str(directory), "it is no directory", "name an adapter directory"))
    # Heavy imports wait until there is something to examine.
    from tasks.blending.doctor import Trial, examine
    from tasks.blending.doctor_trials import try_diffusers, try_peft

    trials: dict[Consumer, Trial] = {Consumer.PEFT: try_peft}
    if importlib.util.find_spec("diffusers") is not None:
        trials[Consumer.DIFFUSERS] = try_diffusers
    verdicts = examine(directory, consumers or list(Consumer), trials)
    return {
        "verdicts": {
            consumer.value: {
                "loads": verdict.loads,
                "verified": verdict.verified,
                "broken": [{"rule": b.rule, "found": b.found, "remedy": b.remedy} for b in verdict.broken],
            }
            for consumer, verdict in verdicts.items()
        }
    }
