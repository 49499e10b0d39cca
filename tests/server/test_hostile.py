"""The real server, as those who attack it see it."""

from __future__ import annotations

import json
import re
import resource
import socket
from contextlib import ExitStack, suppress

import httpx
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.helpers.server import Server
from tests.helpers.visitors import ANY_JSON, predict, settings_of

ADDRESS = "127.0.0.1"
FIELDS = st.sampled_from(["data", "fn_index", "session_hash", "event_id", "event_data", "trigger_id"])


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd", "/gradio_api/file=app.py", "/gradio_api/file=../../etc/passwd",
        "/gradio_api/file=assets/mini-sdxl/model_index.json", "/gradio_api/file=.git/config",
        "/gradio_api/file=%2e%2e%2fapp.py", "/gradio_api/file=..%5capp.py", "/gradio_api/file/etc/passwd",
        "/gradio_api/file=http://127.0.0.1:1/a.png", "/gradio_api/proxy=http://127.0.0.1:1/",
        "/assets/../app.py", "/assets/%2e%2e/%2e%2e/app.py", "/static/../../app.py", "/static//etc/passwd",
        "/assets//etc/passwd", "/svelte/../../../app.py", "/.git/config", "/app.py", "/../../etc/passwd",
        "//etc/passwd", "/gradio_api/custom_component/x/client/component/../../../../app.py",
    ],
)  # fmt: skip
def test_no_file_but_the_intended_ones_is_served(server: Server, path: str) -> None:
    answer = _raw(server, f"GET {path} HTTP/1.1\r\nHost: {ADDRESS}\r\nConnection: close\r\n\r\n".encode())
    assert re.match(rb"HTTP/1.1 (400|403|404|405) ", answer), answer[:200]
    for inside in (b"import", b"root:", b"_class_name", b"repositoryformatversion"):
        assert inside not in answer


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Host": "evil.example"}], ids=str
)
def test_a_foreign_site_cannot_ask_for_a_run(server: Server, headers: dict[str, str]) -> None:
    body = {"data": settings_of(prompt="")}  # so that nothing runs
    answer = httpx.post(f"{server.address}/gradio_api/call/compare", json=body, headers=headers)
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("path", ["queue/join", "call/compare", "run/compare", "cancel", "reset", "mcp/"])
@settings(max_examples=25, deadline=None)
@given(
    body=st.one_of(
        st.binary(max_size=200),
        st.sampled_from([b"[" * 20_000, b'{"a":' * 5_000, b"\xff\xfe", b"null", b"1e999", b'"\\ud800"']),
        st.one_of(ANY_JSON, st.dictionaries(FIELDS, ANY_JSON)).map(lambda value: json.dumps(value).encode()),
    ),
    kind=st.sampled_from(["application/json", "text/plain", "multipart/form-data", "application/xml", ""]),
)
def test_malformed_bodies_get_an_answer_and_no_traceback(
    server: Server, path: str, body: bytes, kind: str
) -> None:
    answer = httpx.post(
        f"{server.address}/gradio_api/{path}", content=body, headers={"Content-Type": kind}, timeout=60
    )
    assert "Traceback" not in answer.text
    assert ".py" not in answer.text
    assert server.process.poll() is None


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET " + b"/a" * 40_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
        b"POST /gradio_api/queue/join HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 999999999\r\n\r\n",
        b"POST /gradio_api/queue/join HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -5\r\n\r\n",
        b"POST /gradio_api/queue/join HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=range(7),
)  # fmt: skip
def test_what_is_not_http_is_refused(server: Server, sent: bytes) -> None:
    answer = _raw(server, sent)
    assert answer == b"" or re.match(rb"HTTP/1.1 4\d\d ", answer), answer[:200]
    assert b"Traceback" not in answer
    assert httpx.get(f"{server.address}/healthz").status_code == 200


@pytest.mark.parametrize(
    "prompt",
    [
        "<script>alert('x')</script><img src=x onerror=alert(1)>", "a\x00b", "‮a fox", "🦊" * 500,
        "a\r\nSet-Cookie: x", "{0}%s%n$HOME`id`", "\x1b[2J",
    ],
)  # fmt: skip
def test_strange_prompts_are_drawn_or_refused_with_a_sentence(client: Client, prompt: str) -> None:
    with suppress(AppError):
        (entry,), report = predict(client, prompt=prompt, width=64, height=64, steps=1)
        assert report["request"]["prompt"] == prompt
        with Image.open(entry["image"]) as picture:
            assert picture.text["prompt"] == prompt


def test_a_thousand_open_connections_leave_it_responsive(server: Server, client: Client) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 1200:
        pytest.skip(f"this process may open no more than {hard} files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1200), hard))
    address = (ADDRESS, httpx.URL(server.address).port)
    with ExitStack() as held:
        held.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        for number in range(1000):
            attacker = (f"127.9.0.{number // 64 + 1}", 0)  # each may have 64 streams
            connection = held.enter_context(socket.create_connection(address, 30, attacker))
            # Half of them ask for a stream that never ends, the others never finish asking.
            stream = f"GET /gradio_api/heartbeat/{number} HTTP/1.1\r\nHost: {ADDRESS}\r\n\r\n".encode()
            connection.sendall(stream if number % 2 else b"POST /gradio_api/queue/join HTTP/1.1\r\nContent")
        assert httpx.get(f"{server.address}/healthz", timeout=30).json()["status"] == "ok"
        assert len(predict(client)[0]) == 1


def _raw(server: Server, sent: bytes) -> bytes:
    """What comes back for bytes that no HTTP library would send."""
    received, address = b"", (ADDRESS, httpx.URL(server.address).port)
    with socket.create_connection(address, timeout=10) as connection, suppress(OSError):
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        while part := connection.recv(65536):
            received += part
    return received
