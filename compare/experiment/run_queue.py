"""One at a time, in the order of arrival."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOOK = 0.25  # seconds between two looks at whether waiting still makes sense


class LineFull(Exception):
    """As many are in line as may be."""


class Line:
    """A lock that serves those who wait in the order in which they came, and lets them leave."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._tickets: deque[object] = deque()

    def __len__(self) -> int:
        """How many are in line, the one whose turn it is included."""
        return len(self._tickets)

    @contextmanager
    def turn(
        self, while_waiting: Callable[[float], None] = lambda seconds: None, longest: int | None = None
    ) -> Iterator[None]:
        """Wait for the turn, and hold it for the length of a `with` block.

        Args:
            while_waiting: called a few times a second with the seconds waited so far; what it raises ends the
                wait.
            longest: how many may be in line, this one and the one whose turn it is included.

        Raises:
            LineFull: where `longest` are in line already; at once.
        """
        ticket = object()
        began = time.monotonic()
        with self._changed:
            if longest is not None and len(self._tickets) >= longest:
                raise LineFull
            self._tickets.append(ticket)
        try:
            while not self._first(ticket):
                while_waiting(time.monotonic() - began)
            yield
        finally:
            with self._changed:
                self._tickets.remove(ticket)
                self._changed.notify_all()

    def _first(self, ticket: object) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._tickets[0] is ticket, timeout=LOOK)
