"""How long a run took, without what it waited for."""

import time


class Stopwatch:
    """Runs from the moment it is made; seconds of the monotonic clock."""

    def __init__(self) -> None:
        self._before, self._since = 0.0, time.monotonic()
        self._running = True

    @property
    def seconds(self) -> float:
        """Seconds that it has run."""
        return self._before + (time.monotonic() - self._since if self._running else 0.0)

    def pause(self) -> None:
        """Stop counting until `resume`."""
        self._before, self._running = self.seconds, False

    def resume(self) -> None:
        """Count on, where it does not."""
        if not self._running:
            self._since, self._running = time.monotonic(), True
