"""What answers on the port until the page does."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from server.lobby import FIRST_PORT, TO_CLOSE, Lobby

HEADERS = {"X-Frame-Options": "SAMEORIGIN"}


async def file(request: object) -> PlainTextResponse:
    return PlainTextResponse("a file")


def opened(port: int | None = None, host: str = "127.0.0.1") -> Lobby:
    return Lobby("<p>Soon</p>", [Route("/file", file)], HEADERS, host, port)


@pytest.fixture
def lobby() -> Iterator[Lobby]:
    lobby = opened()
    yield lobby
    lobby.close()


def test_the_page_and_its_files_are_there_and_all_else_is_told_to_wait(lobby: Lobby) -> None:
    with httpx.Client(base_url=lobby.address) as http:
        front = http.get("/?prompt=a+fox")
        assert (front.status_code, front.text) == (200, "<p>Soon</p>")
        assert front.headers["content-type"].startswith("text/html")
        assert http.get("/file").text == "a file"
        health = http.get("/healthz")
        assert (health.status_code, health.json()) == (503, {"status": "starting"})
        for path in ("/config", "/gradio_api/info", "/file/../../etc/passwd", "/example/"):
            assert http.get(path).status_code == 503
        called = http.post("/gradio_api/call/compare", json={"data": []})
        assert (called.status_code, called.headers["retry-after"]) == (503, "1")
        for answer in (front, health, called):
            assert answer.headers["x-frame-options"] == "SAMEORIGIN"
            assert answer.headers["cache-control"] == "no-store"


def test_the_first_free_port_is_taken(lobby: Lobby) -> None:
    second = opened()
    try:
        assert FIRST_PORT <= lobby.port < second.port
    finally:
        second.close()


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


V6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "0.0.0.0", "localhost", pytest.param("::1", marks=V6), pytest.param("[::1]", marks=V6)],
)
def test_it_listens_where_it_is_told_and_says_where(host: str) -> None:
    lobby = opened(host=host)
    try:
        assert httpx.get(lobby.address).text == "<p>Soon</p>"
    finally:
        lobby.close()


def test_a_port_that_is_taken_is_an_error_that_says_what_to_do(lobby: Lobby) -> None:
    with pytest.raises(OSError, match=f"127.0.0.1:{lobby.port} cannot be listened on: .*another --port"):
        opened(lobby.port)


def test_the_port_is_free_at_once_whoever_still_holds_a_connection() -> None:
    lobby = opened()
    with (
        httpx.Client(base_url=lobby.address) as kept_alive,
        socket.create_connection(("127.0.0.1", lobby.port)) as silent,
        socket.create_connection(("127.0.0.1", lobby.port)) as in_the_middle,
    ):
        kept_alive.get("/")
        in_the_middle.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1")
        silent.sendall(b"GET / HT")
        time.sleep(0.2)
        began = time.monotonic()
        lobby.close()
        assert time.monotonic() - began < TO_CLOSE + 2
        again = opened(lobby.port)
        assert httpx.get(again.address).status_code == 200
        again.close()
