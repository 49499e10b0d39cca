"""The service that lends GPUs on ZeroGPU, played on this machine for the real `spaces` package."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

from tests.helpers.local_http import answering


class Lender:
    """What it was asked, and whether it still lends.

    Attributes:
        asked: path and parameters of every call, in order.
    """

    def __init__(self) -> None:
        self.address = ""
        self.asked: list[tuple[str, dict[str, str]]] = []

    def calls(self, path: str) -> list[dict[str, str]]:
        """The parameters of all calls of one path."""
        return [parameters for called, parameters in list(self.asked) if called == path]


@contextmanager
def lender_on_this_machine() -> Iterator[Lender]:
    """Serve a `Lender` until the block ends."""
    lender = Lender()
    with answering(_handler_of(lender)) as lender.address:
        yield lender


def _handler_of(lender: Lender) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            url = urlsplit(self.path)
            parameters = {name: values[0] for name, values in parse_qs(url.query).items()}
            lender.asked.append((url.path, parameters))
            if url.path != "/schedule":
                self._answer(200, {})
            elif int(parameters["durationSeconds"]) > 1000:
                self._answer(429, {"left": 25, "wait": "PT1H"})
            else:
                token = f"token-{len(lender.asked)}"
                self._answer(
                    200, {"idle": True, "nvidiaIndex": 0, "nvidiaUUID": "GPU-0", "allowToken": token}
                )

        def _answer(self, status: int, content: object) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
