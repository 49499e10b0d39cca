"""What one visitor may ask for: the limits, and who is counted as one."""

from __future__ import annotations

import argparse
from contextlib import suppress
from dataclasses import fields
from html import unescape

import gradio as gr
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import Page, Session
from compare.errors import InvalidRequest
from compare.events import Stopped
from compare.request import Request
from server.limits import Limits, OverLimit, add_options, megapixel_steps, option, variable
from server.options import Serving
from server.options import add_options as add_serving_options
from server.visitors import REMEMBERED, Turnstile, visitor_of
from tests.helpers.visitors import from_here


def request(**changes: object) -> Request:
    small = {"prompt": "a fox", "width": 512, "height": 512, "steps": 25, "guidance_scale": 4.0}
    return Request(**{**small, **changes})


def parsed(*arguments: str, **environment: str) -> Limits:
    parser = argparse.ArgumentParser()
    add_options(parser, environment)
    return Limits.of(parser.parse_args(arguments))


def serving(*arguments: str, host: str = "127.0.0.1", **environment: str) -> Serving:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default=host)
    add_serving_options(parser, environment)
    return Serving.of(parser.parse_args(arguments), environment)


def test_work_counts_pixels_steps_methods_and_repeats() -> None:
    asked = request(width=1000, height=1000, steps=10, methods=("baseline", "todo"), repeats=3)
    assert megapixel_steps(asked) == 60


@pytest.mark.parametrize(
    ("limits", "changes", "says"),
    [
        (Limits(megapixel_steps=1), {}, "are 20 megapixel-steps; this server allows 1 in a request"),
        (Limits(prompt_characters=4), {}, "The prompt can have 4 characters on this server; this one has 5"),
        (Limits(prompt_characters=8), {"negative_prompt": "a" * 9}, "The negative prompt can have 8"),
        (Limits(repeats=2), {"repeats": 3}, "Repeats can be at most 2 on this server, not 3"),
    ],
)
def test_over_a_limit_a_sentence_says_which_and_what_is_allowed(
    limits: Limits, changes: dict[str, object], says: str
) -> None:
    with pytest.raises(OverLimit, match=says):
        limits.check(request(**changes))


def test_what_is_within_the_limits_passes() -> None:
    Limits().check(request(steps=100))


def test_an_option_counts_before_the_variable_and_that_before_the_default() -> None:
    assert parsed() == Limits()
    assert parsed(TODO_MAX_REPEATS="3").repeats == 3
    assert parsed("--max-repeats", "4", TODO_MAX_REPEATS="3").repeats == 4


@pytest.mark.parametrize("name", [limit.name for limit in fields(Limits)])
@pytest.mark.parametrize("value", ["0", "-1", "1.5", "many", "99999999999999999999"])
def test_a_limit_that_cannot_be_is_refused_at_the_start(name: str, value: str) -> None:
    with pytest.raises(
        ValueError, match=rf"{option(name)} \({variable(name)}\) must be a whole number from 1"
    ):
        parsed(option(name), value)


@pytest.mark.parametrize(
    "arguments",
    [("--proxies", "-1"), ("--grace", "soon"), ("--origin", "example.org"), ("--origin", "https://a/b")],
)
def test_what_cannot_be_served_so_is_refused_at_the_start(arguments: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=arguments[0]):
        serving(*arguments)


def test_only_a_server_that_others_cannot_reach_knows_all_its_names() -> None:
    assert "127.0.0.1" in serving().hosts
    assert "page.example.org" in serving("--origin", "https://page.example.org").hosts
    assert serving(host="0.0.0.0").hosts == ()


def test_a_space_knows_its_own_address_and_that_it_is_behind_a_proxy() -> None:
    space = serving(SPACE_HOST="someone-page.hf.space")
    assert space.origins == ("https://someone-page.hf.space",)
    assert space.proxies == 1
    assert serving("--proxies", "2", SPACE_HOST="someone-page.hf.space").proxies == 2


def test_the_page_shows_every_limit(loaded) -> None:
    limits = Limits(
        megapixel_steps=101, prompt_characters=102, repeats=13, in_line=104, per_minute=105, seconds=106
    )
    shown = str(Page(loaded, example=None, limits=limits).blocks.get_config_file())
    for limit in fields(Limits):
        assert f" {getattr(limits, limit.name)} " in shown, limit.name


def test_over_the_limit_nothing_runs_and_nothing_typed_changes(loaded, monkeypatch) -> None:
    page = Page(loaded, example=None, limits=Limits(megapixel_steps=1))

    def never(*_: object) -> None:
        raise AssertionError("it ran")

    monkeypatch.setattr(page.runs, "run", never)
    settings = ("", 512, 512, 50, 4.0, 0, 2, ["baseline"], 1)
    (only,) = page.compare_on_page(Session(), from_here(), "a fox", *settings)
    assert list(only) == [page.view.message]
    assert "megapixel-steps" in only[page.view.message]
    with pytest.raises(gr.Error, match="megapixel-steps"):
        next(page.compare(from_here(), "a fox", *settings))


def test_a_visitor_who_asks_too_often_is_told_when_to_come_back() -> None:
    now = 0.0
    turnstile = Turnstile(2, clock=lambda: now)
    turnstile.pass_through("a")
    now = 20.0
    turnstile.pass_through("a")
    with pytest.raises(OverLimit, match="2 requests a minute from each visitor: try again in 40 seconds"):
        turnstile.pass_through("a")
    turnstile.pass_through("b")
    now = 60.0
    turnstile.pass_through("a")
    with pytest.raises(OverLimit, match="in 20 seconds"):
        turnstile.pass_through("a")


@given(st.lists(st.tuples(st.floats(0, 30), st.sampled_from("abc")), max_size=60), st.integers(1, 4))
def test_in_no_minute_gets_anybody_through_more_often(visits: list[tuple[float, str]], most: int) -> None:
    now, passed = 0.0, {name: [] for name in "abc"}
    turnstile = Turnstile(most, clock=lambda: now)
    for pause, name in visits:
        now += pause
        try:
            turnstile.pass_through(name)
        except OverLimit:
            assert sum(now - then < 60 for then in passed[name]) >= most
        else:
            passed[name].append(now)
            assert sum(now - then < 60 for then in passed[name]) <= most


def test_it_forgets_visitors_rather_than_grow_for_ever() -> None:
    turnstile = Turnstile(1)
    for number in range(REMEMBERED + 5):
        turnstile.pass_through(str(number))
    assert len(turnstile._visits) == REMEMBERED


@pytest.mark.parametrize(
    ("host", "forwarded", "proxies", "visitor"),
    [
        ("10.0.0.1", "", 0, "10.0.0.1"),
        ("10.0.0.1", "1.1.1.1", 0, "10.0.0.1"),  # anybody can write that
        ("10.0.0.1", "6.6.6.6, 1.1.1.1", 1, "1.1.1.1"),
        ("10.0.0.1", "6.6.6.6, 1.1.1.1, 10.0.0.2", 2, "1.1.1.1"),
        ("10.0.0.1", "", 1, "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "", 0, "2001:db8:1:2::/64"),
        (None, "", 0, "unknown"),
    ],
)
def test_who_asks(host: str | None, forwarded: str, proxies: int, visitor: str) -> None:
    assert visitor_of(host, {"x-forwarded-for": forwarded} if forwarded else {}, proxies) == visitor


def test_two_addresses_of_one_ipv6_network_are_one_visitor() -> None:
    assert visitor_of("2001:db8::1", {}, 0) == visitor_of("2001:db8::2", {}, 0)


@given(st.text(max_size=30), st.text(max_size=60), st.integers(0, 3))
def test_whatever_the_headers_say_somebody_asks(host: str, forwarded: str, proxies: int) -> None:
    assert visitor_of(host, {"x-forwarded-for": forwarded}, proxies)


# Every field, with values of all the kinds that JSON has: each is a request, or one sentence.

LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=40),
    st.sampled_from([64, 128, 2048, 1, 2, 100, "baseline", "todo", "a fox", 4.5]),
)  # fmt: skip
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
FIELDS = (
    "prompt", "negative_prompt", "width", "height", "steps", "guidance_scale", "seed", "factor", "methods",
    "repeats",
)  # fmt: skip


@pytest.fixture(scope="module")
def page_that_runs_nothing(loaded) -> Page:
    page = Page(loaded, example=None, limits=Limits(per_minute=10**6))
    page.runs.run = lambda *_: iter([Stopped(None)])
    return page


@given(st.dictionaries(st.sampled_from(FIELDS), ANYTHING, min_size=1))
def test_any_value_in_any_field_is_let_in_as_it_is_or_answered_with_a_sentence(
    page_that_runs_nothing: Page, changes: dict[str, object]
) -> None:
    page = page_that_runs_nothing
    settings = {
        "prompt": "a fox", "negative_prompt": "", "width": 512, "height": 512, "steps": 25,
        "guidance_scale": 4.0, "seed": 0, "factor": 2, "methods": ["todo"], "repeats": 1, **changes,
    }  # fmt: skip
    last = list(page.compare_on_page(Session(), from_here(), *settings.values()))[-1][page.view.message]
    try:
        answered = list(page.compare(from_here(), *settings.values()))
    except gr.Error as refused:
        sentence = refused.message
    else:
        assert len(answered) == 1
        assert "Stopped." in last
        return
    assert sentence in unescape(last), "page and API say the same"
    assert sentence.endswith(".")
    assert len(sentence) < 400


@given(st.dictionaries(st.sampled_from(FIELDS), ANYTHING, min_size=1))
def test_nothing_is_rounded_or_cut_to_fit(page_that_runs_nothing: Page, changes: dict[str, object]) -> None:
    with suppress(InvalidRequest):
        job = page_that_runs_nothing.runs.accept({**vars(request()), **changes}, "somebody", "api")
        for name, value in changes.items():
            assert getattr(job.request, name) == (tuple(value) if isinstance(value, list) else value)
