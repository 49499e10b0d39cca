"""Calls whose answer nobody listens to: they lose their place.

Gradio keeps the events of a call for a stream that the client opens with a second request. If it never does,
the run goes on to its end, and the events stay for ever. Of the 2,000 sessions whose events gradio keeps, a
new one pushes out the oldest, whether or not somebody listens to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from server.front_door.refused import Refused

PATIENCE = 10.0  # seconds without a stream; a browser opens it at once
MOST = 1500  # of gradio's 2,000; more may come while these are counted


@dataclass(eq=False)
class _Session:
    streams: int = 0
    end: asyncio.TimerHandle | None = None

    def cancel_end(self) -> None:
        if self.end is not None:
            self.end.cancel()
            self.end = None


class Sessions:
    """The sessions of which gradio keeps events, by the address of their stream.

    Args:
        hang_up: called for one that nobody listens to, on the event loop.
        patience: seconds for which a session can have no stream.
    """

    def __init__(self, hang_up: Callable[[str], Awaitable[None]], patience: float = PATIENCE) -> None:
        self._hang_up, self._patience = hang_up, patience
        self._sessions: dict[str, _Session] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._sessions)

    def check_room(self) -> None:
        """Raise `Refused` if gradio would forget somebody's events for one more session."""
        if len(self._sessions) >= MOST:
            raise Refused(503, "Too many visitors are here at once. Try again in a minute.", self._patience)

    def called(self, stream: str) -> None:
        """A call was accepted, whose events come in this stream."""
        session = self._sessions.setdefault(stream, _Session())
        if not session.streams:
            self._end_later(stream, session)

    @contextmanager
    def listening(self, stream: str) -> Iterator[None]:
        """For the time that a client has the stream open. Raises `Refused` for one that no call has."""
        if (session := self._sessions.get(stream)) is None:
            raise Refused(404, "There is no such call here, or nobody listened to it.")
        session.cancel_end()
        session.streams += 1
        try:
            yield
        finally:
            session.streams -= 1
            if not session.streams and self._sessions.get(stream) is session:
                self._end_later(stream, session)

    def _end_later(self, stream: str, session: _Session) -> None:
        session.cancel_end()
        session.end = asyncio.get_running_loop().call_later(self._patience, self._end, stream)

    def _end(self, stream: str) -> None:
        del self._sessions[stream]
        task = asyncio.ensure_future(self._hang_up(stream))
        self._ending.add(task)  # the loop itself keeps no reference to it
        task.add_done_callback(self._ending.discard)
