"""Clients who do not listen, or have gone: they lose their place, and their run does not go on to its end."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from tests.helpers.attacker import LONG, TOOL_HEADERS, Attacker, tool_call
from tests.helpers.visitors import wait_until

pytestmark = pytest.mark.usefixtures("quiet")
LATER = 60  # seconds: until the systems in between have taken what they take
SOON = 25  # seconds: the patience of the server, and a few for a busy machine; the runs take minutes
# Long, and with many events.
TALKATIVE = {
    "width": 256,
    "height": 256,
    "steps": 100,
    "methods": ["baseline", "tome", "todo"],
    "guidance_scale": 4.0,
}


@contextmanager
def sent(attacker: Attacker, request: bytes) -> Iterator[socket.socket]:
    """A connection that has sent a request, and reads nothing."""
    url = attacker.http.base_url
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.bind((attacker.address, 0))
        connection.connect((url.host, url.port))
        connection.sendall(request.replace(b"HERE", f"{url.host}:{url.port}".encode()))
        yield connection


def test_a_call_whose_stream_is_never_opened(attacker: Attacker) -> None:
    assert attacker.call(attacker.data(**LONG)).status_code == 200
    attacker.wait_for(1)
    attacker.wait_for(0, SOON)


def test_a_page_that_never_opens_its_stream(attacker: Attacker) -> None:
    function = attacker.function("compare_on_page")
    assert attacker.join("never", [None, *attacker.data(**LONG)], function).status_code == 200
    attacker.wait_for(1)
    attacker.wait_for(0, SOON)


def test_a_stream_that_is_closed(attacker: Attacker) -> None:
    event = attacker.call(attacker.data(**LONG)).json()["event_id"]
    with attacker.http.stream("GET", f"/gradio_api/call/compare/{event}"):
        attacker.wait_for(1)
    attacker.wait_for(0, SOON)


def test_a_page_that_stops_reading(attacker: Attacker) -> None:
    function = attacker.function("compare_on_page")
    attacker.join("deaf", [None, *attacker.data(**TALKATIVE)], function)
    with sent(attacker, b"GET /gradio_api/queue/data?session_hash=deaf HTTP/1.1\r\nHost: HERE\r\n\r\n"):
        attacker.wait_for(1)
        before = attacker.gone()
        wait_until(lambda: attacker.gone() > before, LATER)


def test_a_tool_that_has_gone(attacker: Attacker) -> None:
    with pytest.raises(httpx.ReadTimeout):
        attacker.http.post(
            "/gradio_api/mcp/",
            content=tool_call(LONG),
            headers=TOOL_HEADERS,
            timeout=httpx.Timeout(60, read=4),
        )
    attacker.wait_for(0, SOON)


def test_those_who_listen_are_served_to_the_end(attacker: Attacker) -> None:
    event = attacker.call(attacker.data(width=256, height=256, steps=30)).json()["event_id"]
    said = attacker.listen(event)
    assert "event: complete" in said
