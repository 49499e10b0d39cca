"""What the server refuses or stops, as the page and the endpoint say it."""

from __future__ import annotations

from collections.abc import Iterator
from html import unescape

import gradio as gr
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import Page, Session
from compare import Request, Stopped
from page.api import SETTINGS
from server.limits import Limits
from server.runs import Stop
from tests.helpers.visitors import from_here, settings_of

LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=40),
    st.sampled_from([64, 128, 2048, 1, 2, 100, "baseline", "todo", "a fox", 4.5]),
)  # fmt: skip
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def stopped_page(loaded) -> Page:
    """Its server stops every run before it begins."""

    def stopped(request: Request, stop: Stop, max_queue: int) -> Iterator[Stopped]:
        stop.ask("Stopped: too long.")
        yield Stopped(None)

    page = Page(loaded, example=None, limits=Limits(per_minute=10**6))
    page.runs.run = stopped
    return page


def said_by_page(page: Page, *settings: object) -> str:
    *_, last = page.compare_on_page(Session(), from_here(), *settings)
    return unescape(last[page.view.message])


def said_by_api(page: Page, *settings: object) -> str:
    with pytest.raises(gr.Error) as refused:
        list(page.compare(from_here(), *settings))
    return refused.value.message


def test_why_the_server_stopped_a_run_is_said(stopped_page: Page) -> None:
    asked = ("a fox", *settings_of())
    assert "Stopped: too long." in said_by_page(stopped_page, *asked)
    assert said_by_api(stopped_page, *asked) == "Stopped: too long."


@given(st.dictionaries(st.sampled_from(SETTINGS), ANYTHING, min_size=1))
def test_page_and_api_say_the_same_whatever_is_in_the_fields(
    stopped_page: Page, changes: dict[str, object]
) -> None:
    settings = {**dict(zip(SETTINGS, ("a fox", *settings_of()), strict=True)), **changes}.values()
    assert said_by_api(stopped_page, *settings) in said_by_page(stopped_page, *settings)


def test_over_a_limit_nothing_runs_and_nothing_but_the_message_changes(loaded) -> None:
    page = Page(loaded, example=None, limits=Limits(megapixel_steps=1))
    page.runs.run = None  # calling it would be an error
    settings = ("a fox", *settings_of(width=512, height=512, steps=50))
    (only,) = page.compare_on_page(Session(), from_here(), *settings)
    assert list(only) == [page.view.message]
    assert said_by_api(page, *settings) in unescape(only[page.view.message])
