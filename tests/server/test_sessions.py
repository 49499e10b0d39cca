"""Calls that nobody listens to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from server.front_door.refused import Refused
from server.front_door.sessions import MOST, Sessions


def ended(use: Callable[[Sessions], None], patience: float = 0.01) -> list[str]:
    """The streams that were hung up on after a use of the sessions."""

    async def run() -> list[str]:
        streams: list[str] = []

        async def hang_up(stream: str) -> None:
            streams.append(stream)

        sessions = Sessions(hang_up, patience)
        use(sessions)
        await asyncio.sleep(0.2)
        return streams

    return asyncio.run(run())


def test_a_call_without_a_stream_is_ended_once() -> None:
    def use(sessions: Sessions) -> None:
        sessions.called("a")
        sessions.called("a")
        sessions.called("b")

    assert ended(use) == ["a", "b"]


def test_a_stream_that_was_closed_is_forgotten_and_an_open_one_is_not() -> None:
    def use(sessions: Sessions) -> None:
        for stream in ("open", "closed"):
            sessions.called(stream)
        still = sessions.listening("open")
        still.__enter__()
        with sessions.listening("closed"), sessions.listening("closed"):
            pass
        sessions.called("open")
        sessions.keeps = still  # a context that is collected is left

    assert ended(use) == ["closed"]


def test_a_stream_that_no_call_has_is_refused() -> None:
    def use(sessions: Sessions) -> None:
        with pytest.raises(Refused), sessions.listening("a"):
            pass

    assert ended(use) == []


def test_gradio_never_keeps_more_sessions_than_it_can() -> None:
    def use(sessions: Sessions) -> None:
        for number in range(MOST):
            sessions.check_room()
            sessions.called(str(number))
        with pytest.raises(Refused):
            sessions.check_room()

    assert len(ended(use)) == MOST
