"""The log: whatever happens, one bounded line of JSON."""

from __future__ import annotations

import json
import logging
import time

import httpx
import pytest

from server.log import IN_ALL, PER_VISITOR, WINDOW, Bounded, JsonLines, Printed
from tests.helpers.server import Server
from tests.helpers.visitors import settings_of, wait_until


def record(message: str = "", **fields: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "a", "levelname": "INFO", "msg": message})
    made.fields = fields
    return made


@pytest.mark.parametrize(
    "text", ["a\nb", "\u202egnp.", "\x1b[2J", "\x7f\x00\x85", "\ud800", "é", "a" * 10**6]
)
def test_a_line_is_short_and_printable_whatever_is_in_it(text: str) -> None:
    line = JsonLines().format(record(text, visitor=text[:100]))
    assert line.isascii()
    assert line.isprintable()
    assert len(line) < 5000
    assert json.loads(line)["visitor"] == text[:100]


def test_a_visitor_gets_so_many_lines_a_minute_and_then_it_is_said_how_many_were_left_out() -> None:
    now = 0.0
    bounded = Bounded(clock=lambda: now)
    assert sum(bounded.filter(record(visitor="a")) for _ in range(1000)) == PER_VISITOR
    assert bounded.filter(record(visitor="b"))
    assert sum(bounded.filter(record(visitor=str(n))) for n in range(10_000)) == IN_ALL - PER_VISITOR - 1
    now = WINDOW
    assert bounded.filter(first := record(visitor="a"))
    assert first.fields["left_out_before"] == 1000 - PER_VISITOR + 10_000 - (IN_ALL - PER_VISITOR - 1)


def test_what_is_printed_together_is_one_line(caplog) -> None:
    printed = Printed("stderr")
    print("1", file=printed)
    print("2", file=printed)
    wait_until(lambda: len(caplog.records) == 1)
    assert caplog.records[0].getMessage() == "1\n2"
    assert caplog.records[0].name == "printed.stderr"


def test_nothing_that_visitors_do_comes_between_the_lines(server: Server) -> None:
    evil = "\u202e\x1b[2J"
    with httpx.Client(base_url=f"{server.address}/gradio_api") as http:
        http.post("/call/compare", json={"data": settings_of(prompt="", width=evil)})
        http.post("/call/compare", json={"data": [1, 2]})
        http.post("/queue/join", json={"data": [1], "fn_index": 13, "session_hash": "a"})
        http.post("/queue/join", content=evil.encode())
        http.post("/mcp/", json={"jsonrpc": "2.0", "id": 1, "method": evil})
        http.get("/call/compare/none")
        http.get("/file=%E2%80%AE%1B%5B2J")
    time.sleep(1)
    said = server.output.read_text()
    assert evil[0] not in said
    assert evil[1] not in said
    after = said.split("Running on")[1].splitlines()[1:]
    assert len(after) >= 4
    for line in after:
        json.loads(line)
