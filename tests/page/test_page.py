"""The page's own handlers, without a browser, on a tiny random model."""

from __future__ import annotations

import threading
from html import escape

from PIL import Image, ImageChops

import compare  # noqa: F401  first: it keeps the libraries quiet
from app import Page, Session
from compare.report import Comparison
from server.runs import BROKEN
from tests.helpers.visitors import from_here

# In the order of the page: negative prompt, width, height, steps, guidance, seed, factor, methods, repeats.
SMALL = ("", 64, 64, 2, 4.0, 0, 2, ["baseline", "tome", "todo"], 1)
ONLY_THE_MODEL_REFUSES = ("", 64, 64, 2, 4.0, 0, 8, ["baseline", "tome", "todo"], 1)  # a 4×4 grid, stride 8


def updates(page: Page, session: Session, *settings: object) -> list[dict]:
    return list(page.compare_on_page(session, from_here(), "a fox", *settings))


def compared(page: Page, session: Session) -> Comparison:
    updates(page, session, *SMALL)
    return session.comparison


def same_picture(file: str, image: Image.Image) -> bool:
    with Image.open(file) as picture:
        return ImageChops.difference(picture, image).getbbox() is None


def test_a_finished_run_is_the_sessions_and_frees_the_buttons(page) -> None:
    session = Session()
    *_, last = updates(page, session, *SMALL)
    assert [result.method for result in session.comparison.results] == ["baseline", "tome", "todo"]
    assert session.stop is None
    assert last[page.compare_button]["interactive"]
    assert not last[page.stop_button]["interactive"]
    assert "Done." in last[page.message]


def test_the_message_says_what_is_going_on(page) -> None:
    seen = [str(update.get(page.message, "")) for update in updates(page, Session(), *SMALL)]
    said = ["Starting", "Warming up", "Baseline is running", "ToMe is running", "ToDo is running", "Done"]
    first = [next(at for at, message in enumerate(seen) if words in message) for words in said]
    assert first == sorted(first)


def test_a_request_that_is_never_valid_changes_nothing_but_the_message(page) -> None:
    session = Session()
    (only,) = updates(page, session, "", 63, *SMALL[2:])
    assert list(only) == [page.message]
    assert "multiple of 8" in only[page.message]


def test_what_only_the_model_refuses_brings_the_last_comparison_back(page) -> None:
    session = Session()
    before = compared(page, session)
    *_, last = updates(page, session, *ONLY_THE_MODEL_REFUSES)
    assert "stride=8" in last[page.message]
    assert session.comparison is before
    assert last[page.compare_button]["interactive"]
    for result in before.results:
        assert same_picture(last[page.pictures[result.method]]["value"], result.image)
        assert f"{result.times.seconds:.2f} s" in last[page.cards[result.method]]


def test_an_error_before_anything_was_shown_leaves_no_pane_waiting(page) -> None:
    *_, last = updates(page, Session(), *ONLY_THE_MODEL_REFUSES)
    assert all("Nothing here yet" in last[card] for card in page.cards.values())


def test_a_bug_is_logged_and_not_shown(page, monkeypatch, caplog) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a secret path")

    monkeypatch.setattr(page.loaded.pipe.unet, "forward", fail)
    *_, last = updates(page, Session(), *SMALL)
    assert escape(BROKEN) in last[page.message]
    assert "secret" not in str(last)
    assert "a secret path" in caplog.text
    monkeypatch.undo()
    assert compared(page, Session())


def test_stop_keeps_what_is_done_and_says_what_is_not(page) -> None:
    session = Session()
    seen: dict = {}
    for update in page.compare_on_page(session, from_here(), "a fox", *SMALL[:3], 60, *SMALL[4:]):
        seen |= update
        if 'class="large"' in str(update.get(page.cards["baseline"], "")):
            assert page.stop(session)["interactive"] is False
    assert session.comparison is None or len(session.comparison.results) < 3
    assert "Stopped." in seen[page.message]
    assert "Stopped before it was done" in seen[page.cards["todo"]]
    assert threading.active_count() < 20


def test_script_in_a_prompt_is_text_in_all_html_of_the_page(page) -> None:
    script = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    html = [page.message, page.about, page.report, *page.cards.values()]
    seen = [
        str(value)
        for update in page.compare_on_page(Session(), from_here(), script, script, *SMALL[1:])
        for component, value in update.items()
        if component in html
    ]
    assert any(escape(script) in value for value in seen)
    assert not any("<script" in value or "<img" in value for value in seen)


def test_stop_without_a_run_does_nothing(page) -> None:
    assert page.stop(Session())["interactive"] is False
