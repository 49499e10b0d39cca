"""The front door: an ASGI app before gradio's, through which every request comes."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.front_door.bodies import check_body, read_body
from server.front_door.connection import Connection
from server.front_door.kept import Kept
from server.front_door.kinds import API, FILE, Kind, Kinds, path_of, stream_of
from server.front_door.origins import Origins, RawHeaders
from server.front_door.quotas import OpenRequests, TokenBucket
from server.front_door.refused import Refused
from server.front_door.sessions import Sessions
from server.front_door.visits import VISIT, Visit, Visits

LOG = logging.getLogger("server.front_door")
SHORT = (Kind.FRONT, Kind.PAGE, Kind.ASSET)
ASSETS = 64 * 2**20  # bytes; all of gradio's files are less, in three encodings
FRONT = 4 * 2**20  # bytes; anybody can ask under many names, of which the last ones are kept
NAMES = ("host", "x-forwarded-host", "x-forwarded-proto")
"""Of the server, by which gradio's page asks for the rest. `Origins.believed` says whose count."""
LEAST_WORK = 1  # of gzip: descriptions of the API are made for each visitor, also while a run is timed
MOMENT = 0.1  # seconds after which gradio waits for the next event of a stream
BROKEN = "Something went wrong. The reason is in the server's log."


class FrontDoor:
    """Lets in what the page, clients of the API and tools ask for, and answers all else itself.

    Args:
        files: the only folder from which files are served, and of it only pictures and archives of them.
        names: the functions that the API has.
        functions: the numbers of all functions of the page.
        hosts: allowed host names, without ports; empty for any.
        origins: allowed origins beside the server's own, as `https://example.org`.
        frames: other sites that may show the page in a frame, likewise.
        proxies: how many trusted proxies are in front.
        per_second: calls of one visitor.
    """

    def __init__(
        self,
        files: Path,
        names: Collection[str],
        functions: Collection[int],
        hosts: Iterable[str] = (),
        origins: Sequence[str] = (),
        frames: Sequence[str] = (),
        proxies: int = 0,
        per_second: float = 5,
    ) -> None:
        self._kinds, self._functions = Kinds(files, names), frozenset(functions)
        self._origins, self._visits = Origins(hosts, origins, proxies), Visits(proxies)
        self._bucket, self._open = TokenBucket(per_second), OpenRequests()
        self._sessions = Sessions(self._hang_up)
        self._assets = Kept(ASSETS, encodings=("br", "gzip"))
        self._front = Kept(FRONT, encodings=("gzip",), headers=NAMES)
        self._headers = answer_headers(frames)
        self._inside: Starlette | None = None
        self._app: ASGIApp | None = None
        self._compressed: ASGIApp | None = None
        self._is_described = False

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """Take the place before everything else in an app, before it gets its first request.

        Not as a middleware of `app_kwargs`: gradio puts its own before it, which fail at strange headers.
        """
        self._inside, self._app, app.middleware_stack = app, app.middleware_stack, self
        self._compressed = GZipMiddleware(self._app, compresslevel=LEAST_WORK)
        yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # the page has no web sockets
            await send({"type": "websocket.close", "code": 1008})
            return
        visitor = Connection(receive, send, self._headers)
        visit = Visit("unknown")
        try:
            visit = self._visits.of(scope)
            await self._let_in(scope, receive, visitor, visit)
        except Refused as refused:
            _log(visit, refused.status, refused.sentence)
            wait = {} if refused.retry_after is None else {"Retry-After": f"{refused.retry_after:.0f}"}
            answer = PlainTextResponse(refused.sentence, refused.status, wait)
            await answer(scope, visitor.receive, visitor.send)
        except Exception:
            LOG.exception("gradio failed", extra={"fields": {"visitor": visit.visitor}})
            if not visitor.status:
                await PlainTextResponse(BROKEN, 500)(scope, visitor.receive, visitor.send)

    async def _let_in(self, scope: Scope, receive: Receive, visitor: Connection, visit: Visit) -> None:
        headers = Headers(scope=scope)
        self._origins.check(headers)
        kind = self._kinds.of(scope)
        is_posted = scope["method"] == "POST"
        if is_posted and not visit.is_tool:  # what gradio asks for a tool has been counted
            self._bucket.admit(visit.visitor)
        await self._describe(scope)
        scope = {**scope, "headers": self._origins.believed(scope), VISIT: visit}
        with self._open.one_more(visit.visitor) if kind not in SHORT else nullcontext():
            visitor.body = await read_body(headers, receive)
            body = check_body(kind, visitor.body, self._functions) if is_posted else {}
            with visitor.watched(on_gone=visit.gone.set if kind is Kind.TOOL else lambda: None):
                await self._answer(kind, scope, visitor, visit, body)

    async def _answer(
        self, kind: Kind, scope: Scope, visitor: Connection, visit: Visit, body: dict[str, Any]
    ) -> None:
        match kind:
            case Kind.JOIN:
                await self._app(scope, visitor.receive, self._noted(scope, visitor, body))
            case Kind.ASSET:

                async def ask(scope: Scope, send: Send) -> None:
                    await self._app(scope, visitor.receive, send)

                await self._assets.send(scope, visitor.send, ask)
            case Kind.FRONT:

                async def ask(scope: Scope, send: Send) -> None:
                    await GZipMiddleware(self._app)(scope, visitor.receive, send)

                await self._front.send(scope, visitor.send, ask)
            case Kind.STREAM:
                visitor.keep_little()
                stream = stream_of(path_of(scope), scope["query_string"])
                with self._sessions.listening(stream) if stream else nullcontext():
                    await self._app(scope, visitor.receive, visitor.send)
            case Kind.TOOL:
                with self._visits.tool(visit, scope["headers"], len(visitor.body)) as headers:
                    await self._app({**scope, "headers": headers}, visitor.receive, visitor.send)
            case Kind.PAGE if not path_of(scope).startswith(
                f"{API}/{FILE}"
            ):  # pictures are as small as can be
                await self._compressed(scope, visitor.receive, visitor.send)
            case _:
                await self._app(scope, visitor.receive, visitor.send)

    def _noted(self, scope: Scope, visitor: Connection, body: dict[str, Any]) -> Send:
        """`visitor.send` for the answer to a call, which first notes in which stream its events will come."""
        self._sessions.check_room()
        _, _, call = path_of(scope).strip("/").partition("/")
        name = call.rpartition("/")[2]

        async def send(message: Message) -> None:
            if visitor.status == 200 and message.get("body"):
                event = json.loads(message["body"])["event_id"]
                is_joined = call == "queue/join"
                stream = (
                    f"queue/data?session_hash={body['session_hash']}" if is_joined else f"call/{name}/{event}"
                )
                self._sessions.called(f"/{API}/{stream}")
            await visitor.send(message)

        return send

    async def _hang_up(self, stream: str) -> None:
        """Open a stream and go away, upon which gradio ends its calls and forgets its events."""
        with suppress(Exception):  # that it does not know the session any more
            for _ in range(3):  # the first time it may only hand over what it kept of a call that has ended
                await self._ask(stream, [])

    async def _describe(self, scope: Scope) -> None:
        """Let gradio describe the API before a visitor does: it keeps the address that the first one used."""
        if not self._is_described:
            self._is_described = True
            await self._ask(f"/{API}/info", self._origins.own_address(scope))

    async def _ask(self, address: str, headers: RawHeaders) -> None:
        """Ask gradio as a visitor does who goes away a moment after the answer begins."""
        path, _, query = address.partition("?")
        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1",
            "method": "GET", "scheme": "http", "path": path, "raw_path": path.encode(), "root_path": "",
            "query_string": query.encode(), "headers": headers, "client": None, "server": ("localhost", None),
            "app": self._inside, VISIT: Visit("this server"),
        }  # fmt: skip
        gone, body = asyncio.Event(), iter([{"type": "http.request", "body": b"", "more_body": False}])

        async def receive() -> Message:
            if (message := next(body, None)) is None:
                await gone.wait()
            return message or {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                asyncio.get_running_loop().call_later(MOMENT, gone.set)

        await self._app(scope, receive, send)


def answer_headers(frames: Sequence[str]) -> dict[str, str]:
    """For every answer, so that browsers let no other site use the page.

    Args:
        frames: other sites that may show the page in a frame, as `https://example.org`.
    """
    ancestors = " ".join(("'self'", *frames))
    headers = {
        "Content-Security-Policy": f"frame-ancestors {ancestors}; object-src 'none'; form-action 'self'",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    }
    return headers if frames else {**headers, "X-Frame-Options": "SAMEORIGIN"}


def _log(visit: Visit, status: int, sentence: str) -> None:
    fields = {"visitor": visit.visitor, "status": status, "reason": sentence}
    LOG.info("request refused", extra={"fields": fields})
