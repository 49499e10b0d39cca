"""How often one visitor may ask."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from compare.errors import InvalidRequest

WINDOW = 60.0  # seconds
REMEMBERED = 10_000  # visitors; beyond, those who asked longest ago are forgotten


class RateLimiter:
    """Sliding-window rate limiter per visitor."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute, self._clock = per_minute, clock
        self._lock = threading.Lock()
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def admit(self, visitor: str) -> None:
        """Count a request. Raises `InvalidRequest`, and does not count it, if it would be one too many."""
        now = self._clock()
        with self._lock:
            times = self._times.setdefault(visitor, deque())
            while times and now - times[0] >= WINDOW:
                times.popleft()
            if len(times) >= self._per_minute:
                wait = WINDOW - (now - times[0])
                raise InvalidRequest(
                    f"This server takes {self._per_minute} requests a minute from each visitor: "
                    f"try again in {wait:.0f} seconds."
                )
            times.append(now)
            self._times.move_to_end(visitor)
            while len(self._times) > REMEMBERED:
                self._times.popitem(last=False)

    def forgive(self, visitor: str) -> None:
        """Do not count the last request after all."""
        with self._lock:
            if times := self._times.get(visitor):
                times.pop()
