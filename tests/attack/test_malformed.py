"""What no browser and no client of the API would send: a 4xx, and nothing of the server's inside."""

from __future__ import annotations

import json
import re
import socket

import pytest

from tests.helpers.attacker import Attacker


def raw(attacker: Attacker, *lines: str, body: bytes = b"") -> bytes:
    """The answer to a request of these lines, and to nothing that a library would add."""
    url = attacker.http.base_url
    sent = "\r\n".join([*lines, f"Content-Length: {len(body)}", "Connection: close", "", ""]).encode(
        "latin-1"
    )
    received = b""
    with socket.create_connection((url.host, url.port), 30, (attacker.address, 0)) as connection:
        connection.sendall(sent.replace(b"HERE", f"{url.host}:{url.port}".encode()) + body)
        while part := connection.recv(65536):
            received += part
    return received


def is_refused(answer: bytes) -> bool:
    return re.match(rb"HTTP/1.1 4\d\d ", answer) is not None and b"Traceback" not in answer


@pytest.mark.parametrize(
    "headers",
    [
        ["Host: HERE", "Origin: http://["], ["Host: HERE", "Origin: http://HERE:99999"], ["Host: ["],
        ["Host: 127.0.0.1:99999"], ["Host: 127.0.0.1:-1"], ["Host: 127.0.0.1:x"], ["Host: a b"],
        ["Host: HERE", "Range: bytes=0-1,2-3"], ["Host: HERE", "Range: bytes=1-2-3"],
        ["Host: HERE", "Range: bytes=0-1,3-4,9-"],
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/", "/gradio_api/info", "PICTURE"])
def test_headers(attacker: Attacker, path: str, headers: list[str]) -> None:
    if path == "PICTURE":
        page = attacker.http.get("/config").text
        path = re.search(r"/gradio_api/file=[^\"]+\.png", page)[0]
    assert is_refused(raw(attacker, f"GET {path} HTTP/1.1", *headers))


NUMBERS = ["1" + "0" * 400, "1e400", "-1" + "0" * 30, "NaN", "Infinity", "9" * 5000]


@pytest.mark.parametrize("field", [2, 5, 6])
@pytest.mark.parametrize("number", NUMBERS, ids=range(len(NUMBERS)))
def test_numbers(attacker: Attacker, number: str, field: int) -> None:
    data = attacker.data()
    data[field] = "HERE"
    body = json.dumps({"data": data}).replace('"HERE"', number).encode()
    answer = attacker.http.post("/gradio_api/call/compare", content=body)
    if answer.status_code == 200:  # those that a sentence can speak of
        said = attacker.listen(answer.json()["event_id"])
        assert " must be a " in said
    else:
        assert 400 <= answer.status_code < 500


@pytest.mark.parametrize(
    "body",
    [
        {"data": [], "fn_index": 10**6}, {"data": [], "fn_index": -1}, {"data": [], "fn_index": "a"},
        {"data": [], "fn_index": None}, {"data": {}, "fn_index": 0}, {"fn_index": 0}, {},
        {"data": [], "fn_index": 0, "session_hash": {"a": 1}}, {"data": [], "session_hash": "‮"},
        {"data": [], "fn_index": 0, "event_id": "a\nb"}, {"data": [], "trigger_id": "a"},
        {"data": [{"path": "a", "meta": 5}], "fn_index": 15}, {"data": [], "simple_format": {}},
    ],
    ids=range(13),
)  # fmt: skip
@pytest.mark.parametrize("path", ["queue/join", "run/predict", "run/compare", "api/predict", "call/nothing"])
def test_calls(attacker: Attacker, path: str, body: dict) -> None:
    answer = attacker.http.post(f"/gradio_api/{path}", json=body)
    assert 400 <= answer.status_code < 500
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    "request_line",
    [
        "GET /gradio_api/call/v2/nothing HTTP/1.1", "POST /gradio_api/call/v2/nothing HTTP/1.1",
        "GET /gradio_api/mcp/sse HTTP/1.1", "POST /gradio_api/mcp/messages/?session_id=1 HTTP/1.1",
        "PUT / HTTP/1.1", "TRACE / HTTP/1.1", "DELETE /gradio_api/queue/join HTTP/1.1", "POST / HTTP/1.1",
        "POST /gradio_api/upload HTTP/1.1", "GET /gradio_api/queue/data HTTP/1.1",
        f"GET /{'a' * 5000} HTTP/1.1", f"GET /?{'a' * 5000} HTTP/1.1",
    ],
    ids=lambda line: line[:40],
)  # fmt: skip
def test_addresses(attacker: Attacker, request_line: str) -> None:
    assert is_refused(raw(attacker, request_line, "Host: HERE", body=b"{}"))


def test_frames_of_other_sites_are_off(attacker: Attacker) -> None:
    headers = attacker.http.get("/").headers
    assert "frame-ancestors 'self'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
