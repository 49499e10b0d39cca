"""What the server refuses or stops, as the page and the endpoint say it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from html import unescape

import gradio as gr
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from app import Page, Session
from compare import Request, Stopped
from compare.request import OPTIONAL_NUMBERS
from page.html import render
from server.limits import Limits
from server.runs import Stop
from tests.helpers.visitors import ANY_JSON, SETTINGS, from_here, settings_of


@pytest.fixture(scope="module")
def asked() -> list[Request]:
    """What `stopped_page` was asked to run."""
    return []


@pytest.fixture(scope="module")
def stopped_page(loaded, asked: list[Request]) -> Page:
    """Its server stops every run before it begins."""

    def stopped(request: Request, stop: Stop, max_queue: int) -> Iterator[Stopped]:
        asked.append(request)
        stop.ask("Stopped: too long.")
        yield Stopped(None)

    page = Page(loaded, example=None, limits=Limits(per_minute=10**6, per_visitor=1000))
    page.runs.run = stopped
    return page


def said_by_page(page: Page, *settings: object) -> str:
    *_, last = page.compare_on_page(Session(), from_here(), *settings)
    return unescape(last[page.view.message])


def said_by_api(page: Page, *settings: object) -> str:
    with pytest.raises(gr.Error) as refused:
        list(page.compare(from_here(), *settings))
    return refused.value.message


@settings(suppress_health_check=[HealthCheck.too_slow])  # on a busy machine
@given(st.dictionaries(st.sampled_from(list(SETTINGS)), ANY_JSON))
@example({})
def test_any_json_is_taken_as_it_is_or_refused_and_page_and_api_say_the_same(
    stopped_page: Page, asked: list[Request], changes: dict[str, object]
) -> None:
    asked.clear()
    sentence = said_by_api(stopped_page, *settings_of(**changes))
    assert sentence in said_by_page(stopped_page, *settings_of(**changes))
    assert sentence.endswith(".")
    assert len(sentence) < 400
    assert len(asked) == (2 if sentence == "Stopped: too long." else 0)
    for name, value in changes.items() if asked else ():
        taken = getattr(asked[0], name)
        if isinstance(value, str) and name in ("factor", *OPTIONAL_NUMBERS):  # as it is typed
            taken, value = str(taken or ""), value.strip()
        assert taken == (tuple(value) if isinstance(value, list) else value)


@pytest.mark.parametrize(
    ("limits", "changes", "says"),
    [
        (
            Limits(megapixel_steps=1),
            {"width": 512, "height": 256, "steps": 25, "methods": ["baseline", "todo"], "repeats": 3},
            "512×256 pixels × 25 steps × 2 methods × 3 repeats are 20 megapixel-steps; this server allows 1",
        ),
        (
            Limits(megapixel_steps=1),
            {"width": 1024, "height": 1024, "steps": 1, "methods": ["baseline"], "repeats": 1},
            "1024×1024 pixels × 1 step × 1 method × 1 repeat are 2 megapixel-steps",
        ),
        (Limits(prompt_characters=4), {}, "The prompt can have 4 characters on this server; this one has 5"),
        (Limits(prompt_characters=8), {"negative_prompt": "a" * 9}, "The negative prompt can have 8"),
        (Limits(repeats=2), {"repeats": 3}, "Repeats can be at most 2 on this server, not 3"),
    ],
)
def test_over_a_limit_nothing_runs_and_nothing_but_the_message_changes(
    loaded, limits: Limits, changes: dict[str, object], says: str
) -> None:
    page = Page(loaded, example=None, limits=limits)
    page.runs.run = None  # calling it would be an error
    settings = settings_of(**changes)
    (only,) = page.compare_on_page(Session(), from_here(), *settings)
    assert list(only) == [page.view.message]
    assert says in (sentence := said_by_api(page, *settings))
    assert sentence in unescape(only[page.view.message])


def test_the_page_names_every_limit() -> None:
    limits = Limits(
        megapixel_steps=101,
        prompt_characters=102,
        repeats=13,
        in_line=104,
        per_minute=105,
        seconds=106,
        per_visitor=107,
        per_second=108,
    )
    said = render("settings_help", sizes=(64, 2048), multiple=8, limits=limits).split()
    assert {str(value) for value in asdict(limits).values()} <= set(said)
