"""What answers on the page's port until the page does: imports take seconds, and a model can take minutes."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

FIRST_PORT, PORTS = 7860, 100  # as gradio has it: the first free one counts
AT_ONCE = 64  # connections; more are refused
TO_CLOSE = 1  # seconds that open requests have when the page takes the port over


class Lobby:
    """A server of one page, on a thread of its own, from its construction until `close`.

    It knows no visitors and keeps nothing: every one gets the same few bytes.

    Args:
        page: as HTML. `/healthz` says "starting" meanwhile, for the page to ask.
        routes: the files that it needs.
        headers: of every answer.
        host: the address to listen on.
        port: None for the first free one from `FIRST_PORT`.

    Raises:
        OSError: the port is taken.
    """

    def __init__(
        self,
        page: str,
        routes: Sequence[BaseRoute],
        headers: dict[str, str],
        host: str,
        port: int | None = None,
    ) -> None:
        self._host = host.strip("[]")  # of an IPv6 address, as in a URL
        self._socket = _listening(self._host, port)
        self.port: int = self._socket.getsockname()[1]
        """Which the page is to take over."""
        headers = {**headers, "Cache-Control": "no-store"}

        async def front(request: Request) -> Response:
            return HTMLResponse(page, headers=headers)

        async def starting(request: Request) -> Response:
            return JSONResponse({"status": "starting"}, 503, {**headers, "Retry-After": "1"})

        everything = Route("/{path:path}", starting, methods=["GET", "POST", "DELETE", "OPTIONS"])
        app = Starlette(
            routes=[Route("/", front), *routes, everything], middleware=[Middleware(GZipMiddleware)]
        )
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_config=None,
                lifespan="off",
                limit_concurrency=AT_ONCE,
                timeout_graceful_shutdown=TO_CLOSE,
                server_header=False,
            )
        )
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="lobby", daemon=True
        )
        self._thread.start()
        # Imports of both threads at once would keep this one from answering for seconds.
        while not self._server.started and self._thread.is_alive():
            time.sleep(0.005)

    @property
    def address(self) -> str:
        """For a browser on this machine."""
        host = "localhost" if self._host == "0.0.0.0" else self._host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"

    def close(self) -> None:
        """Free the port."""
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()


def _listening(host: str, port: int | None) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if port is not None:
        try:
            return socket.create_server((host, port), family=family)
        except OSError as error:
            raise OSError(
                f"{host}:{port} cannot be listened on: {error.strerror}. Choose another --port."
            ) from error
    for free in range(FIRST_PORT, FIRST_PORT + PORTS):
        with suppress(OSError):
            return socket.create_server((host, free), family=family)
    raise OSError(
        f"{host} has no free port from {FIRST_PORT} to {FIRST_PORT + PORTS - 1}. Choose one by --port."
    )
