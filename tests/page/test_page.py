"""The page's own handlers, without a browser, on a tiny random model."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from html import unescape
from pathlib import Path
from unittest.mock import Mock

import gradio as gr
from PIL import Image, ImageChops

from app import Page, Session, example_comparison
from compare import LoadedPipeline, Stopped, Tick, methods
from compare.methods import Method
from server.limits import Limits
from server.runs import BROKEN
from tests.helpers.visitors import from_here, settings_of

THREE = ["baseline", "tome", "todo"]
ONLY_THE_MODEL_REFUSES = {"factor": 8}  # a 4×4 grid, stride 8


def asked(page: Page, session: Session, **changes: object) -> Iterator[dict]:
    settings = settings_of(**{"width": 64, "height": 64, "methods": THREE, **changes})
    return page.compare_on_page(session, from_here(), *settings)


def card(page: Page, update: dict, method: str) -> str:
    return str(update.get(page.view.panes[method].card, ""))


def picture(page: Page, update: dict, method: str) -> str:
    return update[page.view.panes[method].picture]["value"]


def same_picture(file: str, image: Image.Image) -> bool:
    with Image.open(file) as picture:
        return ImageChops.difference(picture, image).getbbox() is None


def test_the_message_says_what_is_going_on(page: Page) -> None:
    seen = [str(update.get(page.view.message, "")) for update in asked(page, Session())]
    said = ["Starting", "Warming up", "Baseline is running", "ToMe is running", "ToDo is running", "Done"]
    first = [next(at for at, message in enumerate(seen) if words in message) for words in said]
    assert first == sorted(first)


def test_when_nothing_is_new_the_page_stays_as_it_is(page: Page, monkeypatch) -> None:
    monkeypatch.setattr(page.runs, "run", lambda *_: (event for event in (Tick(), Stopped(None))))
    session = Session()
    _, tick, _ = asked(page, session)
    assert tick == {page.view.session: session}  # gradio would take an empty dict for a value


def test_what_only_the_model_refuses_brings_the_last_comparison_back(page: Page) -> None:
    session = Session()
    list(asked(page, session))
    before = session.shown
    *_, last = asked(page, session, **ONLY_THE_MODEL_REFUSES)
    assert "stride=8" in last[page.view.message]
    assert session.shown is before
    assert last[page.view.compare_button]["interactive"]
    for result in before.comparison.results:
        assert same_picture(picture(page, last, result.method), result.image)
        assert f"{result.times.seconds:.2f} s" in card(page, last, result.method)


def test_an_error_before_anything_was_shown_leaves_no_pane_waiting(page: Page) -> None:
    *_, last = asked(page, Session(), **ONLY_THE_MODEL_REFUSES)
    assert all("Nothing here yet" in card(page, last, method) for method in page.view.panes)


def test_the_example_stays_until_there_is_a_comparison(loaded: LoadedPipeline) -> None:
    example = example_comparison()
    page, session = Page(loaded, example), Session()
    *_, last = asked(page, session, **ONLY_THE_MODEL_REFUSES)
    assert "An example" in last[page.view.about]
    assert page.show_script(session, "todo")[0] == last[page.view.script.code]
    for update, method in zip(page.show_wipe(session, "todo", "tome")[:2], ("todo", "tome"), strict=True):
        assert update["value"] == picture(page, last, method)
        assert same_picture(update["value"], example.result(method).image)


def test_a_bug_is_logged_and_not_shown(page: Page, monkeypatch, caplog) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a secret path")

    monkeypatch.setattr(page.loaded.pipe.unet, "forward", fail)
    *_, last = asked(page, Session())
    assert BROKEN in unescape(last[page.view.message])
    assert "secret" not in str(last)
    assert "a secret path" in caplog.text
    monkeypatch.undo()
    list(asked(page, session := Session()))
    assert session.shown.comparison


def test_stop_keeps_what_is_done_and_says_what_is_not(page: Page) -> None:
    session, seen = Session(), {}
    for update in asked(page, session, steps=60):
        seen |= update
        if 'class="large"' in card(page, update, "baseline"):
            assert page.stop(session)["interactive"] is False
    assert session.shown is None or len(session.shown.comparison.results) < 3
    assert page.stop(session)["interactive"] is False  # it has no run now
    assert "Stopped." in seen[page.view.message]
    assert "Stopped before it was done" in card(page, seen, "todo")
    assert threading.active_count() < 20


def test_a_second_run_of_a_window_ends_the_first_and_stop_reaches_it(page: Page) -> None:
    session = Session()
    first = asked(page, session, steps=100)
    next(update for update in first if "is running" in str(update.get(page.view.message)))
    second = asked(page, session, steps=100)
    next(second)
    assert list(first) == []
    next(update for update in second if "is running" in str(update.get(page.view.message)))
    page.stop(session)
    *_, last = second
    assert "Stopped." in last[page.view.message]
    assert session.stop is None


def test_each_picture_is_encoded_once(page: Page, monkeypatch) -> None:
    save = Mock(wraps=page.files.save)
    monkeypatch.setattr(page.files, "save", save)
    session = Session()
    list(asked(page, session, repeats=2))
    list(asked(page, session, **ONLY_THE_MODEL_REFUSES))
    page.show_wipe(session, "baseline", "tome")
    for result in session.shown.comparison.results:
        assert sum(call.args[0].tobytes() == result.image.tobytes() for call in save.call_args_list) == 1


def test_a_session_keeps_its_pictures_encoded(page: Page) -> None:
    session = Session()
    list(asked(page, session))
    page.show_wipe(session, "baseline", "todo")
    assert all(result.image.fp is not None for result in session.shown.comparison.results)  # not read yet


def test_a_visitor_whose_result_is_gone_is_told_so_and_sees_no_other(loaded: LoadedPipeline) -> None:
    page, session = Page(loaded, example_comparison()), Session()
    *_, last = asked(page, session)
    about = last[page.view.about]
    left, right, said = page.show_wipe(session, "baseline", "todo", about)
    assert (left["value"] is None, said) == (False, gr.skip())
    left, right, said = page.show_wipe(Session(), "baseline", "todo", about)
    assert (left["value"], right["value"]) == (None, None)
    assert "is gone" in said
    assert page.show_script(Session(), "todo", about)[0] == ""
    left, *_ = page.show_wipe(Session(), "baseline", "todo", page.first_view.about)
    assert left["value"] is not None


def test_a_full_disk_is_said_logged_and_counted_and_costs_no_quota(page: Page, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for limits in (page.runs.limits, Limits(per_minute=2)):
        small = Page(page.loaded, example=None, limits=limits)
        monkeypatch.setattr(small.files, "save", full)
        for _ in range(3):
            *_, last = asked(small, Session())
            assert "disk is full" in last[small.view.message]
            assert last[small.view.compare_button]["interactive"]
        counted = small.runs.metrics.registry.get_sample_value("todo_failures_total", {"kind": "disk_full"})
        assert counted == 3


def test_a_picture_whose_file_was_deleted_can_still_be_shown(page: Page) -> None:
    session = Session()
    list(asked(page, session))
    for update in page.show_wipe(session, "baseline", "todo")[:2]:
        Path(update["value"]).unlink()
    for update, method in zip(
        page.show_wipe(session, "baseline", "todo")[:2], ("baseline", "todo"), strict=True
    ):
        assert same_picture(update["value"], session.shown.comparison.result(method).image)


def test_a_method_of_somebody_elses_is_a_column_of_the_page_and_in_the_answer_of_the_api(
    loaded: LoadedPipeline, monkeypatch
) -> None:
    theirs = Method(
        id="elses", label="Else's", description="", colour="#0000ff", enable=lambda *_: nullcontext()
    )
    monkeypatch.setattr(methods, "METHODS", (*methods.METHODS, theirs))
    page, session = Page(loaded, example=None), Session()
    assert ("Else's", "elses") in page.settings["methods"].choices
    *_, last = asked(page, session, methods=["baseline", "elses"])
    pane = page.view.panes["elses"]
    assert last[pane.column]["visible"]
    assert same_picture(last[pane.picture]["value"], session.shown.comparison.result("elses").image)
    assert "not counted" in last[pane.card]
    assert "identical" in last[pane.card]
    assert last[page.view.wipe.right]["value"] == "elses"
    *_, (gallery, report) = page.compare(from_here(), *settings_of(methods=["elses", "baseline"]))
    assert [caption for _, caption in gallery] == ["Baseline", "Else's"]
    result = report["results"][1]
    assert (result["method"], result["flop_speedup"], result["identical"]) == ("elses", None, True)
    assert result["seconds"] > 0
