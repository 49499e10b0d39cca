"""Refuses, before gradio sees them, requests that the page never makes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY = 256 * 1024  # bytes; two prompts of the longest kind and all settings take less than a tenth
TOO_LONG = f"A request can have {BODY} bytes here."

PAGES = (
    "", "config", "theme.css", "favicon.ico", "robots.txt", "manifest.json", "healthz", "metrics",
)  # fmt: skip
FOLDERS = ("assets", "static", "svelte", "pwa_icon")
API = "gradio_api"
# Not among them: uploads, the proxy, recordings, code generation, and whatever else gradio may come to serve.
API_ROUTES = (
    "info", "openapi.json", "app_id", "startup-events", "theme.css", "heartbeat", "queue", "call", "run",
    "api", "cancel", "reset", "mcp",
)  # fmt: skip
FILE = "file="


class RequestFilter:
    """ASGI middleware.

    Args:
        files: the only folder from which `/gradio_api/file=` may serve, and from it only pictures.
        hosts: allowed host names, without ports; empty for any. They keep out a foreign site whose name
            points here, if the server listens on this machine alone.
        origins: allowed origins beside the server's own, as `https://example.org`.
    """

    def __init__(
        self, app: ASGIApp, files: Path, hosts: Iterable[str] = (), origins: Iterable[str] = ()
    ) -> None:
        self.app, self._files = app, files
        self._hosts, self._origins = frozenset(hosts), frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # the page has no web sockets
            await send({"type": "websocket.close", "code": 1008})
            return
        if refusal := self._refusal(scope):
            await refusal(scope, receive, send)
        elif body := await _body(receive):
            await self.app(scope, _again(body, receive), send)
        else:
            await PlainTextResponse(TOO_LONG, 413)(scope, receive, send)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        # Not starlette's TrustedHostMiddleware: it cannot say what the operator can do about it.
        if self._hosts and _name(host) not in self._hosts:
            return PlainTextResponse(
                "This server has another name. Its operator can allow this one with --origin.", 403
            )
        if origin is not None and not self._is_allowed(origin, host, headers.get("x-forwarded-host")):
            return PlainTextResponse(
                "Other sites may not use this server. Its operator can allow one with --origin.", 403
            )
        if not self._is_served(scope["path"].removeprefix(scope.get("root_path", ""))):
            return PlainTextResponse("There is nothing here.", 404)
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > BODY:
            return PlainTextResponse(TOO_LONG, 413)
        return None

    def _is_allowed(self, origin: str, *hosts: str | None) -> bool:
        scheme, _, address = origin.partition("://")
        port = {"http": ":80", "https": ":443"}.get(scheme, "")  # which a `Host` header can leave out
        own = {host.lower().removesuffix(port) for host in hosts if host}
        return origin in self._origins or (address != "" and address.lower().removesuffix(port) in own)

    def _is_served(self, path: str) -> bool:
        first, _, rest = path.removeprefix("/").partition("/")
        if first != API:
            return (first in PAGES and not rest) or first in FOLDERS
        if rest.startswith(FILE):
            file = Path(rest.removeprefix(FILE))
            return file.parent == self._files and file.suffix == ".png" and "\0" not in rest
        return rest.partition("/")[0] in API_ROUTES


async def _body(receive: Receive) -> list[Message] | None:
    """The messages that make up the body; None if it is too long."""
    messages, size = [], 0
    while True:
        message = await receive()
        messages.append(message)
        size += len(message.get("body", b""))
        if size > BODY:
            return None
        if message["type"] != "http.request" or not message.get("more_body", False):
            return messages


def _again(messages: list[Message], receive: Receive) -> Receive:
    """First what was received already, then what comes."""
    left = iter(messages)

    async def receive_again() -> Message:
        return next(left, None) or await receive()

    return receive_again


def _name(host: str) -> str:
    """A `Host` header without its port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
