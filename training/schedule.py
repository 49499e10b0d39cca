"""Time as the measure of a training: how much of it is over, and the learning rate that follows from it."""

from __future__ import annotations

import time

WARM_UP = 0.05  # of the time


class Clock:
    """Of a training of ``minutes`` in all, ``used`` seconds of which were used before.

    Time, not steps, so that another machine, batch or size of crops still ends when it should, with the
    learning rate at zero.
    """

    def __init__(self, minutes: float, used: float = 0.0) -> None:
        self.steps = 0
        """Since this clock was started."""
        self._whole = 60 * minutes
        self._began = time.monotonic() - used

    @property
    def seconds(self) -> float:
        """Used so far."""
        return time.monotonic() - self._began

    @property
    def over(self) -> bool:
        return self.seconds >= self._whole

    def step(self) -> None:
        """One more is done."""
        self.steps += 1

    def rate(self, peak: float, cooldown: float) -> float:
        """Warm-up, ``peak``, and a linear fall to zero over the last ``cooldown`` (0 to 1) of the time."""
        left = (1 - self.seconds / self._whole) / cooldown if cooldown else 1.0
        return peak * max(0.0, min(1.0, self.seconds / self._whole / WARM_UP, left))
