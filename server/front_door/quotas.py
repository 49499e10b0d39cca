"""How many requests one visitor may make, and have open, of whatever kind."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from server.front_door.refused import Refused

BURST = 20  # seconds' worth of requests that can come at once
OPEN = 64  # streams and calls; a window of the page has two streams while it runs something
REMEMBERED = 10_000  # visitors; beyond, those who asked longest ago are forgotten, and start afresh


class TokenBucket:
    """Token bucket per visitor, as the moment at which it will be full again (GCRA).

    Args:
        per_second: requests of a visitor that are let in for ever; `BURST` times as many at once.
    """

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second, self._clock = per_second, clock
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def admit(self, visitor: str) -> None:
        """Count a request. Raises `Refused`, and does not count it, if it would be one too many."""
        now = self._clock()
        full_at = max(self._full_at.get(visitor, now), now) + 1 / self._per_second
        if full_at - now > BURST:
            raise Refused(429, "These are too many requests at once. Try again soon.", full_at - now - BURST)
        self._full_at[visitor] = full_at
        self._full_at.move_to_end(visitor)
        while len(self._full_at) > REMEMBERED:
            self._full_at.popitem(last=False)


class OpenRequests:
    """Counts the requests that each visitor has open."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    @contextmanager
    def one_more(self, visitor: str) -> Iterator[None]:
        """For the time that a request is open. Raises `Refused` if it would be one too many."""
        if self._open[visitor] >= OPEN:
            raise Refused(429, f"A visitor can have {OPEN} requests open at once.", 10)
        self._open[visitor] += 1
        try:
            yield
        finally:
            self._open[visitor] -= 1
            if not self._open[visitor]:
                del self._open[visitor]
