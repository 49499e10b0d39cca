"""The queue of runs: one at a time, in the order of arrival."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from compare.errors import QueueFull
from compare.words import queue_is_full

POLL = 0.25  # seconds between two looks at whether waiting still makes sense


class RunQueue:
    """A lock that serves in the order of arrival, lets those who wait leave, and knows how many there are."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._places: deque[Place] = deque()

    def __len__(self) -> int:
        """How many runs are in the queue, the one in progress included."""
        return len(self._places)

    @contextmanager
    def place(self, max_length: int | None = None) -> Iterator[Place]:
        """A place in the queue for the length of a `with` block.

        Raises:
            QueueFull: the queue has `max_length` places already.
        """
        place = Place(self)
        with self._changed:
            if max_length is not None and len(self._places) >= max_length:
                raise QueueFull(queue_is_full(max_length))
            self._places.append(place)
        try:
            yield place
        finally:
            with self._changed:
                self._places.remove(place)
                self._changed.notify_all()


class Place:
    """One place in a `RunQueue`."""

    def __init__(self, queue: RunQueue) -> None:
        self._queue = queue

    @property
    def ahead(self) -> int:
        """How many runs are before this one."""
        with self._queue._changed:
            return self._queue._places.index(self)

    def wait(self, while_waiting: Callable[[float], None]) -> None:
        """Return once this place is the first.

        Args:
            while_waiting: called a few times a second with the seconds waited so far; what it raises ends the
                wait.
        """
        began = time.monotonic()
        while not self._is_first():
            while_waiting(time.monotonic() - began)

    def _is_first(self) -> bool:
        queue = self._queue
        with queue._changed:
            return queue._changed.wait_for(lambda: queue._places[0] is self, timeout=POLL)
