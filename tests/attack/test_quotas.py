"""More than one visitor's share: the others do not notice."""

from __future__ import annotations

import json
import socket
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import pytest

from tests.helpers.attacker import Attacker

# Of the honest one: it lasts longer than an attack, and shows if it was ended.
STEADY = {"width": 256, "height": 256, "steps": 100, "methods": ["baseline", "todo"]}
REMEMBERED = 2000  # sessions, by gradio
BODY_SECONDS = 10


@pytest.mark.usefixtures("quiet")
def test_refused_calls_do_not_end_the_runs_of_others(attacker: Attacker, honest: Attacker) -> None:
    event = honest.call(honest.data(**STEADY)).json()["event_id"]
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(honest.listen, event)
        honest.wait_for(1)
        function = attacker.function("compare_on_page")
        refused = [None, *attacker.data(prompt="")]
        for number in range(REMEMBERED + 100):
            answer = attacker.join(f"flood{number}", refused, function)
            assert answer.status_code in (200, 429)
        assert "event: complete" in run.result()


def test_the_clicks_of_one_visitor_leave_room_for_others(attacker: Attacker, honest: Attacker) -> None:
    function = attacker.function("show_script")
    until = time.monotonic() + 5
    statuses = Counter()
    with ThreadPoolExecutor(8) as pool:
        while time.monotonic() < until:
            joins = pool.map(lambda n: attacker.join("click", [None, "todo", None], function), range(40))
            statuses.update(answer.status_code for answer in joins)
            assert "Queue is full" not in honest.join("other", [None, "todo", None], function).text
    assert set(statuses) <= {200, 429}
    assert statuses[200] < 150


@pytest.mark.parametrize("length", [65, 245_000])
def test_long_ids_are_refused(attacker: Attacker, length: int) -> None:
    function = attacker.function("show_script")
    assert attacker.join("a" * length, [None, "todo", None], function).status_code == 400
    assert attacker.call(attacker.data(), session_hash="a" * length).status_code == 400
    assert attacker.http.get(f"/gradio_api/heartbeat/{'a' * min(length, 60_000)}").status_code in (400, 414)


def test_open_streams_are_limited_and_the_others_are_served(attacker: Attacker, honest: Attacker) -> None:
    with ExitStack() as held:
        statuses = Counter()
        for number in range(100):
            stream = attacker.http.stream("GET", f"/gradio_api/heartbeat/h{number}")
            statuses[held.enter_context(stream).status_code] += 1
        assert statuses == {200: 64, 429: 36}
        assert honest.http.get("/healthz").status_code == 200
        assert "event: complete" in honest.listen(honest.call(honest.data()).json()["event_id"])


def test_a_request_that_is_never_finished_ends_in_time(attacker: Attacker) -> None:
    url = attacker.http.base_url
    head = (
        f"POST /gradio_api/queue/join HTTP/1.1\r\nHost: {url.host}:{url.port}\r\nContent-Length: 900\r\n\r\n"
    )
    until = time.monotonic() + BODY_SECONDS + 10
    with socket.create_connection((url.host, url.port), 0.5, (attacker.address, 0)) as slow:
        slow.sendall(head.encode())
        answer = b""
        while not answer:
            assert time.monotonic() < until, "it is still waited for"
            with suppress(TimeoutError):
                answer = slow.recv(4096)
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_body_that_is_too_long_is_not_read(attacker: Attacker) -> None:
    body = json.dumps({"data": ["a" * 300_000]}).encode()
    assert attacker.http.post("/gradio_api/call/compare", content=body).status_code == 413
