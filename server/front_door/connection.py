"""The visitor's end of a request: what comes from there, what goes there, and whether anybody is left."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import anyio
from starlette.datastructures import MutableHeaders
from starlette.types import Message, Receive, Send

# Seconds in which a visitor takes nothing of what waits for them.
SLOW = 60.0
DEAF = 10.0  # of a stream
UNREAD = 16 * 1024  # bytes of a stream that the system may keep for a visitor who does not read


class Connection:
    """Stands between a visitor and an app, as its `receive` and `send`.

    Args:
        headers: for every answer.
    """

    def __init__(self, receive: Receive, send: Send, headers: Mapping[str, str]) -> None:
        self.body: bytes | None = b""
        """What the app receives as the request's body."""
        self.status = 0
        """Of the answer; 0 before it begins."""
        self._receive, self._send, self._headers = receive, send, dict(headers)
        self._gone, self._patience = asyncio.Event(), SLOW

    async def receive(self) -> Message:
        """For the app."""
        if self.body is not None:
            body, self.body = self.body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """For the app. Hangs up on a visitor who takes nothing."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            answer = MutableHeaders(scope=message)
            for name, value in self._headers.items():
                answer.setdefault(name, value)
        with anyio.move_on_after(self._patience) as in_time:
            await self._send(message)
        if in_time.cancelled_caught:
            self._gone.set()
            if (transport := self._transport) is not None:
                transport.abort()  # what they do not take would be kept for them

    @contextmanager
    def watched(self, on_gone: Callable[[], None]) -> Iterator[None]:
        """Notice inside the block that the visitor has gone: let the app know, and call `on_gone`."""

        async def watch() -> None:
            while (await self._receive())["type"] != "http.disconnect":
                pass
            self._gone.set()
            on_gone()

        watching = asyncio.ensure_future(watch())
        try:
            yield
        finally:
            watching.cancel()

    def keep_little(self) -> None:
        """Let the system keep little of what the visitor does not read, so that it shows soon."""
        self._patience = DEAF
        if (transport := self._transport) is not None:
            transport.set_write_buffer_limits(high=0)
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNREAD)
            self._headers["connection"] = "close"  # a picture, next, would be slow

    @property
    def _transport(self) -> asyncio.Transport | None:
        """uvicorn's, which ASGI does not show."""
        return getattr(getattr(self._send, "__self__", None), "transport", None)
