"""What the page and the API ask for, and nothing else: the kind of a request."""

from __future__ import annotations

import re
from collections.abc import Collection
from enum import Enum
from pathlib import Path
from urllib.parse import parse_qs

from starlette.types import Scope

from server.front_door.refused import Refused

PATH = 2048  # characters of a path, and of a query
ID = re.compile(r"[A-Za-z0-9_-]{1,64}")  # of sessions and events: gradio's have up to 36 characters

FRONT = frozenset(("", "config", "theme.css"))
PAGES = frozenset(("favicon.ico", "robots.txt", "manifest.json", "healthz", "metrics", "page.png"))
FOLDERS = frozenset(("assets", "static", "svelte", "pwa_icon"))
API = "gradio_api"
# Not among them: uploads, the proxy, recordings, code generation, and whatever else gradio may come to serve.
API_PAGES = frozenset(
    ("info", "openapi.json", "app_id", "startup-events", "theme.css", "queue/status", "mcp/schema")
)  # fmt: skip
TOOLS = frozenset(("mcp", "mcp/http"))  # not mcp/sse, which MCP has replaced: it cannot tell who has gone
CONTROLS = frozenset(("cancel", "reset"))
FILE = "file="
SUFFIXES = (".png", ".zip")  # of the files that the page makes
OUTSIDE_THE_QUEUE = "predict"
"""The name by which the page calls functions that are not in gradio's queue, by their number."""


class Kind(Enum):
    """What a request is, for those who have to treat some of them differently."""

    PAGE = "a page, or a part of one"
    FRONT = "the page itself, the same for everybody who asks under one name"
    ASSET = "a file of gradio's own pages, which is the same for everybody"
    JOIN = "a call of a function, whose answer comes in a stream"
    RUN = "a call of a function outside the queue"
    CONTROL = "about a call"
    STREAM = "events, until one side ends it"
    TOOL = "a message of a language model's tools (MCP), which can take as long as a run"


class Kinds:
    """Knows the kind of every request.

    Args:
        files: the only folder from which `/gradio_api/file=` may serve, and from it only pictures and
            archives of them.
        names: the functions that the API has.
    """

    def __init__(self, files: Path, names: Collection[str]) -> None:
        self._files, self._names = files, frozenset(names)

    def of(self, scope: Scope) -> Kind:
        """The kind. Raises `Refused` for all that the page never asks for."""
        path, query = path_of(scope), scope.get("query_string", b"")
        if len(path) > PATH or len(query) > PATH:
            raise Refused(414, f"An address can have {PATH} characters here.")
        method = scope["method"]
        kind = self._posted(path) if method == "POST" else self._fetched(path, query)
        if kind is None:
            raise Refused(404, "There is nothing here.")
        if method not in ("GET", "HEAD", "POST", "OPTIONS"):
            raise Refused(405, "This is not a way to ask for it.")
        return kind

    def _posted(self, path: str) -> Kind | None:
        first, _, rest = path.partition("/")
        rest = rest.rstrip("/")
        if first != API:
            return None
        if rest in TOOLS:
            return Kind.TOOL
        if rest in CONTROLS:
            return Kind.CONTROL
        call, _, name = rest.rpartition("/")
        if rest == "queue/join" or (call in ("call", "call/v2") and name in self._names):
            return Kind.JOIN
        return Kind.RUN if call in ("run", "api") and name == OUTSIDE_THE_QUEUE else None

    def _fetched(self, path: str, query: bytes) -> Kind | None:
        first, _, rest = path.partition("/")
        if first != API:
            if first in FOLDERS:
                return Kind.ASSET
            if rest:
                return None
            return Kind.FRONT if first in FRONT else Kind.PAGE if first in PAGES else None
        if rest.startswith(FILE):
            file = Path(rest.removeprefix(FILE))
            is_made_here = file.parent == self._files and file.suffix in SUFFIXES and "\0" not in rest
            return Kind.PAGE if is_made_here else None
        rest = rest.rstrip("/")
        if rest in API_PAGES:
            return Kind.PAGE
        if rest in TOOLS:
            return Kind.STREAM
        first, *others = rest.split("/")
        if first == "heartbeat" and len(others) == 1:
            check_id(others[0])
            return Kind.STREAM
        if first == "call" and others[-2:-1] and others[-2] not in self._names:
            return None
        return Kind.STREAM if stream_of(path, query) else None


def check_id(id: object) -> None:
    """Raise `Refused` for what is not the id of a session or an event, as gradio's clients make them."""
    if not isinstance(id, str) or not ID.fullmatch(id):
        raise Refused(400, "This is not the id of a session or an event.")


def stream_of(path: str, query: bytes) -> str | None:
    """The address of the stream of a call's events, the same for all ways to write it; None for any other.

    Raises:
        Refused: its id is not one that gradio makes.
    """
    parts = path.strip("/").split("/")
    if parts == [API, "queue", "data"]:
        id = parse_qs(query.decode("latin-1")).get("session_hash", [""])[-1]
        address = f"/{API}/queue/data?session_hash={id}"
    elif parts[:2] == [API, "call"] and len(parts) == 4 + (parts[2] == "v2"):
        id = parts[-1]
        address = f"/{API}/call/{parts[-2]}/{id}"
    else:
        return None
    check_id(id)
    return address


def path_of(scope: Scope) -> str:
    """The path below the page's own address, without its first slash."""
    return scope["path"].removeprefix(scope.get("root_path", "")).removeprefix("/")
