"""Answers that are the same for everybody, kept as they were sent once.

Making and compressing them anew competes with the run whose time is measured.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.types import Message, Scope, Send

ONCE = ("range", "if-none-match", "if-modified-since", "origin")
"""A request with one of these is answered by gradio itself."""

Answer = list[Message]
Key = tuple[object, ...]


@dataclass
class Kept:
    """Whole answers to GET requests.

    An answer depends on its address and on what is named here, and on nothing else: gradio is not even shown
    the rest of a request's headers, and no query.

    Args:
        most: bytes of all answers; the one that was not asked for longest goes first.
        encodings: those in which gradio answers, the best one first.
        headers: what an answer depends on.
    """

    most: int
    encodings: Sequence[str]
    headers: Sequence[str] = ()
    _answers: OrderedDict[Key, Answer] = field(default_factory=OrderedDict, init=False)
    _bytes: int = field(default=0, init=False)

    async def send(self, scope: Scope, send: Send, ask: Callable[[Scope, Send], Awaitable[None]]) -> None:
        """Answer a request.

        Args:
            ask: lets gradio answer.
        """
        headers = Headers(scope=scope)
        if scope["method"] != "GET" or any(name in headers for name in ONCE):
            await ask(scope, send)
            return
        counts = self._counts(headers)
        key = (scope.get("scheme"), scope.get("root_path"), scope["path"], *counts)
        if (answer := self._answers.get(key)) is None:
            answer = await self._asked({**scope, "headers": counts, "query_string": b""}, send, ask)
            self._keep(key, answer)
        else:
            self._answers.move_to_end(key)
            for message in answer:
                await send(_copy(message))

    def _counts(self, headers: Headers) -> list[tuple[bytes, bytes]]:
        """The headers on which an answer depends."""
        accepted = headers.get("accept-encoding", "")
        encoding = next((encoding for encoding in self.encodings if encoding in accepted), "identity")
        named = [(name.encode(), headers[name].encode("latin-1")) for name in self.headers if name in headers]
        return [*named, (b"accept-encoding", encoding.encode())]

    async def _asked(self, scope: Scope, send: Send, ask: Callable[[Scope, Send], Awaitable[None]]) -> Answer:
        answer: Answer = []

        async def send_and_note(message: Message) -> None:
            answer.append(_copy(message))
            await send(message)

        await ask(scope, send_and_note)
        return answer

    def _keep(self, key: Key, answer: Answer) -> None:
        is_whole = answer and answer[0].get("status") == 200 and not answer[-1].get("more_body", False)
        if not is_whole or key in self._answers or _size(answer) > self.most:
            return
        self._answers[key] = answer
        self._bytes += _size(answer)
        while self._bytes > self.most:
            self._bytes -= _size(self._answers.popitem(last=False)[1])


def _size(answer: Answer) -> int:
    return sum(len(message.get("body", b"")) for message in answer)


def _copy(message: Message) -> Message:
    """Of its own headers too, to which others add."""
    return {**message, "headers": list(message["headers"])} if "headers" in message else message
