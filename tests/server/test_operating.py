"""Health, metrics and the log of the real server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx
from gradio_client import Client

from tests.helpers.server import Server
from tests.helpers.visitors import lines, long_run, metric, predict, wait_for_the_end, wait_until


def test_health_is_answered_while_a_run_is_going_on(server: Server) -> None:
    with long_run(server):
        assert httpx.get(f"{server.address}/healthz").json() == {"status": "ok", "in_line": 1}
    wait_for_the_end(server)


def test_health_runs_a_real_step_when_asked_and_one_for_all_who_ask(server: Server) -> None:
    def ask(_: int) -> dict:
        return httpx.get(f"{server.address}/healthz", params={"step": 1}, timeout=60).json()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))
    assert {answer["status"] for answer in answers} == {"ok"}
    assert len({answer["seconds"] for answer in answers}) == 1
    assert answers[0]["seconds"] > 0


def test_the_metrics_are_prometheus_text(server: Server, client: Client) -> None:
    before = metric(server, 'todo_requests_total{outcome="finished"}')
    predict(client)
    # A run is counted and logged when its last event has been answered, which is a moment later.
    wait_until(lambda: metric(server, 'todo_requests_total{outcome="finished"}') == before + 1)
    answer = httpx.get(f"{server.address}/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert "# TYPE todo_method_seconds histogram" in answer.text
    assert metric(server, 'todo_method_seconds_count{method="todo"}') > 0


def test_a_request_is_logged_without_its_prompt(server: Server, client: Client) -> None:
    def logged() -> list[dict]:
        return [line for line in lines(server) if line["logger"] == "server.requests"]

    before = len(logged())
    for _ in range(5):  # lines are bounded in a minute, and the tests before may have used them up
        predict(client, prompt="a violet umbrella")
        with suppress(AssertionError):
            wait_until(lambda: len(logged()) > before, seconds=20)
            break
    assert len(logged()) > before
    assert "violet" not in server.output.read_text()
    last = logged()[-1]
    assert (last["outcome"], last["width"], last["methods"]) == ("finished", 128, ["todo"])
