"""Who asks: nobody chooses it, whatever they say and whichever way they come."""

from __future__ import annotations

import pytest

from tests.helpers.attacker import LONG, Attacker

EVIL = "evil.example"
# What gradio, or the server below it, would believe.
FORGED = (
    {"X-Forwarded-For": "203.0.113.{0}"},
    {"X-Forwarded-For": "203.0.113.{0}, 203.0.114.{0}", "Forwarded": "for=203.0.113.{0}"},
    {"X-Forwarded-For": "203.0.113.{0}", "X-Real-IP": "203.0.113.{0}", "X-Gradio-User": "mcp"},
)
NO_PLACE = "You have 2 comparisons in the queue"


def forged(kind: int, number: int) -> dict[str, str]:
    return {name: value.format(number) for name, value in FORGED[kind].items()}


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("kind", range(len(FORGED)))
def test_two_places_are_all_that_one_visitor_gets(attacker: Attacker, kind: int) -> None:
    for number in range(2):
        attacker.http.headers = forged(kind, number)
        assert attacker.call(attacker.data(**LONG)).status_code == 200
    attacker.wait_for(2)
    attacker.http.headers = forged(kind, 3)
    assert NO_PLACE in attacker.listen(attacker.call(attacker.data()).json()["event_id"])
    assert NO_PLACE in attacker.use_tool({}, **forged(kind, 4)).text
    assert attacker.use_tool({}, **{"X-Visit-Pass": "0" * 32}, **forged(kind, 5)).status_code == 403


@pytest.mark.usefixtures("quiet")
def test_tools_count_for_who_asks_and_not_for_all_who_use_them(attacker: Attacker, honest: Attacker) -> None:
    for _ in range(2):
        attacker.call(attacker.data(**LONG))
    attacker.wait_for(2)
    assert NO_PLACE in attacker.use_tool({}).text
    attacker.wait_for(0)  # nobody listens to those two
    assert "speedup" in honest.use_tool({}).text


def test_no_header_chooses_the_address_of_the_server(attacker: Attacker, honest: Attacker) -> None:
    for name in ("X-Forwarded-Host", "X-Gradio-Server", "Forwarded", "X-Original-Host"):
        value = f"http://{EVIL}/" if name == "X-Gradio-Server" else EVIL
        for path in ("/", "/config", "/gradio_api/info", "/gradio_api/openapi.json", "/gradio_api/mcp/"):
            assert EVIL not in attacker.http.get(path, headers={name: value}).text
    attacker.http.post("/gradio_api/call/v2/compare", json={"prompt": ""}, headers={"X-Forwarded-Host": EVIL})
    for path in ("/gradio_api/info", "/config"):
        assert EVIL not in honest.http.get(path).text
