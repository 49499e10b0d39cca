"""Files of gradio's own pages, which it would compress anew for everybody: kept as they were sent once.

Compressing competes with the run whose time is measured.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.datastructures import Headers
from starlette.types import Message, Scope, Send

MOST = 64 * 2**20  # bytes; all of gradio's are less, in three encodings
ONCE = ("range", "if-none-match", "if-modified-since", "origin")
"""A request with one of these is answered by gradio itself."""

Answer = list[Message]


class Assets:
    """Keeps whole answers, by path and by the encodings that the browser takes."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str], Answer] = {}
        self._bytes = 0

    async def send(self, scope: Scope, send: Send, ask: Callable[[Send], Awaitable[None]]) -> None:
        """Answer a request for a file.

        Args:
            ask: lets gradio answer, with this `send`.
        """
        headers = Headers(scope=scope)
        if scope["method"] != "GET" or scope["query_string"] or any(name in headers for name in ONCE):
            await ask(send)
            return
        key = (scope["path"], _encodings(headers))
        if (kept := self._answers.get(key)) is not None:
            for message in kept:
                await send(_copy(message))
            return
        answer: Answer = []

        async def send_and_keep(message: Message) -> None:
            answer.append(_copy(message))
            await send(message)

        await ask(send_and_keep)
        size = sum(len(message.get("body", b"")) for message in answer)
        is_whole = answer and answer[0].get("status") == 200 and not answer[-1].get("more_body", False)
        if is_whole and key not in self._answers and self._bytes + size <= MOST:
            self._bytes += size
            self._answers[key] = answer


def _copy(message: Message) -> Message:
    """Of its own headers too, to which others add."""
    return {**message, "headers": list(message["headers"])} if "headers" in message else message


def _encodings(headers: Headers) -> str:
    """Those of gradio's that the browser takes: any other difference makes no other answer."""
    accepted = headers.get("accept-encoding", "")
    return next((encoding for encoding in ("br", "gzip") if encoding in accepted), "")
