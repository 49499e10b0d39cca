"""Somebody who attacks the server by bare HTTP, from an address of their own on this machine."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

import httpx

from tests.helpers.local_http import answering
from tests.helpers.visitors import SETTINGS, wait_until

# Linux gives this machine all of 127/8; gradio's own requests come from 127.0.0.1.
_ADDRESSES = (f"127.{a}.{b}.7" for a, b in itertools.product(range(1, 255), range(1, 255)))
SHORT = {"width": 64, "height": 64, "steps": 1, "guidance_scale": 1.0}
LONG = {"width": 512, "height": 512, "steps": 60, "methods": ["baseline", "todo"]}


class Attacker:
    """A visitor with an address that nobody else has."""

    def __init__(self, server: str) -> None:
        self.address = next(_ADDRESSES)
        transport = httpx.HTTPTransport(local_address=self.address)
        self.http = httpx.Client(base_url=server, transport=transport, timeout=60)

    def data(self, **changes: object) -> list[object]:
        """The settings of a small comparison, in the order of the API."""
        return list({**SETTINGS, **SHORT, **changes}.values())

    def call(self, data: list[object], **more: object) -> httpx.Response:
        """Call the API. The answer is the id of an event, whose results come in a stream."""
        return self.http.post("/gradio_api/call/compare", json={"data": data, **more})

    def listen(self, event: str) -> str:
        """All that the stream of a call says."""
        return self.http.get(f"/gradio_api/call/compare/{event}").text

    def join(self, session: str, data: list[object], function: int) -> httpx.Response:
        """Call a function as the page does."""
        body = {"data": data, "fn_index": function, "session_hash": session, "trigger_id": None}
        return self.http.post("/gradio_api/queue/join", json=body)

    def use_tool(self, arguments: dict[str, object], **headers: str) -> httpx.Response:
        """Call the MCP tool, and wait for its answer."""
        return self.http.post(
            "/gradio_api/mcp/", content=tool_call(arguments), headers=TOOL_HEADERS | headers
        )

    def function(self, name: str) -> int:
        """The number of a function of the page."""
        functions = self.http.get("/config").json()["dependencies"]
        return next(function["id"] for function in functions if function["api_name"] == name)

    def in_line(self) -> int:
        """How many comparisons are in the queue."""
        return self.http.get("/healthz").json()["in_line"]

    def gone(self) -> int:
        """How many runs have ended because nobody was left who wanted them."""
        found = re.search(r'outcome="gone"} (\d+)', self.http.get("/metrics").text)
        return int(found[1]) if found else 0

    def wait_for(self, in_line: int, seconds: float = 60) -> None:
        """Until so many comparisons are in the queue."""
        wait_until(lambda: self.in_line() == in_line, seconds)


TOOL_HEADERS = {
    "Content-Type": "application/json",
    "Accept": "application/json, text/event-stream",
    "MCP-Protocol-Version": "2025-06-18",
}


def tool_call(arguments: dict[str, object]) -> bytes:
    parameters = {"name": "compare", "arguments": {**SETTINGS, **SHORT, **arguments}}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": parameters}
    return json.dumps(message).encode()


@contextmanager
def counting() -> Iterator[tuple[str, list[str]]]:
    """A server that answers everything. Yields its address, and what it was asked for so far."""
    asked: list[str] = []

    class Count(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"hi")

        def log_message(self, *arguments: object) -> None:
            pass

    with answering(Count) as address:
        yield address, asked
