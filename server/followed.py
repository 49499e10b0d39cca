"""A run that goes on for a moment when its window has gone: one that is loaded again finds it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Generic, TypeVar

from compare.errors import InvalidRequest, RunFailed
from compare.events import Event
from server.runs import Job, Runs

PATIENCE = 10.0  # seconds, as the front door gives to streams
State = TypeVar("State")


class Followed(Generic[State]):
    """The events of one run, for one reader after another.

    Args:
        state: what a reader leaves to the next.
        on_lost: called when nobody has come back for it, and the run has ended for that.
        patience: seconds that it waits for the next reader.
    """

    def __init__(
        self,
        runs: Runs,
        job: Job,
        state: State,
        on_lost: Callable[[], None],
        patience: float = PATIENCE,
    ) -> None:
        self.job, self.state = job, state
        self._runs, self._on_lost, self._patience = runs, on_lost, patience
        self._events: Iterator[Event] | None = None
        self._run = ExitStack()
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()

    @property
    def is_left(self) -> bool:
        """Whether its reader has gone away, and another one can still come."""
        return self._timer is not None

    @contextmanager
    def reading(self) -> Iterator[Iterator[Event]]:
        """The events, those that nobody has read yet, for the length of a `with` block.

        The run ends with the block. But if the generator in which the block stands is closed, which is what
        gradio does when a window has gone, the run goes on until the patience is over. (Not if the generator
        reads by `yield from`: the events themselves would be closed.)

        Raises:
            InvalidRequest, RunFailed: as `Runs.events`.
        """
        with self._lock:
            self._stop_waiting()
        with self._run as run:
            if self._events is None:
                self._events = run.enter_context(self._runs.events(self.job))
            try:
                yield self._events
            except GeneratorExit:
                with self._lock:
                    self._run = run.pop_all()
                    self._timer = threading.Timer(self._patience, self._lose)
                    self._timer.daemon = True
                    self._timer.start()
                raise

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _lose(self) -> None:
        with self._lock:
            if self._timer is None:  # somebody has come in this moment
                return
            self._timer = None
        with suppress(InvalidRequest, RunFailed):
            self._run.close()
        self._on_lost()
