"""The page's own handlers, without a browser, on a tiny random model."""

from __future__ import annotations

import errno
import re
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from html import unescape
from pathlib import Path
from unittest.mock import Mock

import gradio as gr
from PIL import Image, ImageChops

from app import Page, Session, example_comparison
from compare import LoadedPipeline, Request, Stopped, Tick, methods
from compare.methods import Method
from compare.models.source import BUNDLED_DEFAULTS
from page.form import as_typed
from server.limits import Limits
from server.runs import BROKEN
from tests.helpers.visitors import SETTINGS, from_here, settings_of

THREE = ["baseline", "tome", "todo"]
ONLY_THE_MODEL_REFUSES = {"factor": 8}  # a 4×4 grid, stride 8


def asked(page: Page, session: Session, **changes: object) -> Iterator[dict]:
    settings = settings_of(**{"width": 64, "height": 64, "methods": THREE, **changes})
    return page.compare_on_page(session, from_here(), *settings)


def bar(page: Page, update: dict, method: str) -> str:
    """What the bar of a method says, in words."""
    shown = str(update.get(page.view.bars, ""))
    found = re.search(rf'<li[^>]* data-method="{re.escape(method)}".*?</li>', shown, re.S)
    return re.sub(r"<[^>]*>|\s+", " ", found.group()) if found else ""


def pictures(page: Page, update: dict) -> dict[str, str]:
    """The files on the stage, by method; those that are to come have none."""
    on_stage = update[page.view.stage]
    return {entry["id"]: entry["file"]["path"] for entry in on_stage if entry["file"]}


def same_picture(file: str, image: Image.Image) -> bool:
    with Image.open(file) as picture:
        return ImageChops.difference(picture, image).getbbox() is None


def test_the_message_says_what_is_going_on(page: Page) -> None:
    seen = [str(update.get(page.view.message, "")) for update in asked(page, Session())]
    methods = ("Baseline", "ToMe", "ToDo")
    each = [f"{label} is {state}" for label in methods for state in ("warming up", "running")]
    said = ["Starting", "Warming up", *each, "Done"]
    first = [next(at for at, message in enumerate(seen) if words in message) for words in said]
    assert first == sorted(first)


def test_settings_that_are_not_the_default_are_in_every_name(page: Page) -> None:
    session = Session()
    updates = asked(page, session, until=0.5, tome_seed=7, pooling="average", tome_ratio=0.5)
    first, *_, last = (update for update in updates if page.view.stage in update)
    names = ["Baseline", "ToMe (until 0.5, ratio 0.5, seed 7)", "ToDo (until 0.5, pooling average)"]
    for update in (first, last):
        assert [entry["label"] for entry in update[page.view.stage]] == names
        assert "until 0.5, ratio 0.5, seed 7" in bar(page, update, "tome")
        assert "ToMe ratio 0.5" in update[page.view.about]
    assert all(name in last[page.view.details.numbers] for name in names)
    files = [entry["name"] for entry in last[page.view.stage]]
    assert files[1] == "tome-factor2-until-0-5-ratio-0-5-seed-7-a-fox-seed0.png"
    assert "ToDo(factor=2, pooling='average', until=0.5)" in page.show_script(session, "todo")[0]


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
        assert same_picture(pictures(page, last)[result.method], result.image)
        assert f"{result.times.seconds:.2f} s" in bar(page, last, result.method)
        assert f"{result.times.seconds:.2f} s" in last[page.view.details.numbers]


def test_an_error_before_anything_was_shown_leaves_nothing_waiting(page: Page) -> None:
    *_, last = asked(page, Session(), **ONLY_THE_MODEL_REFUSES)
    assert last[page.view.stage] == []
    assert "data-method" not in last[page.view.bars]


def test_the_example_stays_until_there_is_a_comparison(loaded: LoadedPipeline) -> None:
    example = example_comparison()
    page, session = Page(loaded, example), Session()
    *_, last = asked(page, session, **ONLY_THE_MODEL_REFUSES)
    assert "An example" in last[page.view.about]
    details = page.view.details
    assert page.show_script(session, last[details.method]["value"])[0] == last[details.code]
    assert list(pictures(page, last)) == [result.method for result in example.results]
    for result in example.results:
        assert same_picture(pictures(page, last)[result.method], result.image)


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
        if "ToMe is warming up" in str(update.get(page.view.message)):
            assert page.stop(session) == gr.update(interactive=False, value="Stopping")
    assert session.shown is None or len(session.shown.comparison.results) < 3
    assert page.stop(session)["interactive"] is False  # it has no run now
    assert "Stopped." in seen[page.view.message]
    assert "Stopped before it was done" in bar(page, seen, "tome")
    assert "Not started" in bar(page, seen, "todo")
    assert seen[page.view.stop_button] == gr.update(interactive=False, value="Stop")
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


def test_the_first_form_says_what_the_example_was_asked(loaded: LoadedPipeline) -> None:
    example = example_comparison()
    info = loaded.info.model_copy(update={"source": example.model.source})
    page = Page(replace(loaded, info=info, defaults=BUNDLED_DEFAULTS), example)
    for name, component in page.form.settings.items():
        asked_for = 1 if name == "repeats" else getattr(example.request, name)
        assert component.value == as_typed(name, asked_for)
    assert page.form.size.value == example.request.width
    assert page.form.factor.value == example.request.factor


def test_a_setting_is_typed_as_a_request_takes_it() -> None:
    asked = {**SETTINGS, "factor": (4, 2), "tome_stride": 3, "tome_ratio": 8 / 9, "methods": ("todo", "tome")}
    request = Request(**asked)
    typed = {name: as_typed(name, getattr(request, name)) for name in SETTINGS}
    assert (typed["factor"], typed["tome_stride"], typed["tome_levels"]) == ("4, 2", "3", "")
    assert Request(**typed) == request


def test_of_an_example_that_another_model_made_the_form_takes_the_methods_alone(
    loaded: LoadedPipeline,
) -> None:
    example = example_comparison()
    page = Page(loaded, example)
    assert page.form.settings["methods"].value == list(example.request.methods)
    assert page.form.settings["width"].value == loaded.defaults.width
    assert page.form.settings["prompt"].value == loaded.examples[0]


def test_times_that_cannot_be_trusted_are_measured_three_times_at_a_click(page: Page) -> None:
    session = Session()
    *_, last = asked(page, session, seed=5)
    seen = {}
    for update in page.repeat_on_page(session, last[page.view.about], from_here()):
        seen |= update
    request = session.shown.request
    assert (request.repeats, request.seed) == (3, 5)
    assert all(len(result.times.denoising) == 3 for result in session.shown.comparison.results)
    assert "Done." in seen[page.view.message]


def test_what_to_expect_is_said_without_seconds_until_something_was_timed(loaded: LoadedPipeline) -> None:
    page, settings = Page(loaded, example=None), settings_of(width=64, height=64, methods=THREE)
    assert "at most" in (said := page.expect(*settings))
    assert "about" not in said
    list(asked(page, Session()))
    assert "about" in page.expect(*settings)
    assert "Width must be" in page.expect(*settings_of(width=3))


def test_a_run_that_would_not_end_in_time_is_refused_with_what_it_would_take(loaded: LoadedPipeline) -> None:
    page = Page(loaded, example=None, limits=Limits(seconds=1, megapixel_steps=10**9))
    long = {"width": 128, "height": 128, "steps": 100, "repeats": 5, "methods": THREE}
    assert "stops a run" not in page.expect(*settings_of(**long))
    list(asked(page, Session()))
    assert "stops a run after 1.0 s" in page.expect(*settings_of(**long)).replace("\n", " ")
    page.runs.run = None  # calling it would be an error
    (only,) = asked(page, Session(), **long)
    assert list(only) == [page.view.message]
    assert "here, and this server stops a run after 1.0 s." in only[page.view.message]


def test_each_picture_is_encoded_once(page: Page, monkeypatch) -> None:
    save = Mock(wraps=page.files.save)
    monkeypatch.setattr(page.files, "save", save)
    session = Session()
    list(asked(page, session, repeats=2))
    list(asked(page, session, **ONLY_THE_MODEL_REFUSES))
    for result in session.shown.comparison.results:
        assert sum(call.args[0].tobytes() == result.image.tobytes() for call in save.call_args_list) == 1


def test_a_session_keeps_its_pictures_encoded(page: Page) -> None:
    session = Session()
    list(asked(page, session))
    list(asked(page, session, **ONLY_THE_MODEL_REFUSES))  # which shows it again
    assert all(result.image.fp is not None for result in session.shown.comparison.results)  # not read yet


def test_a_visitor_whose_result_is_gone_is_told_so_and_sees_no_other(loaded: LoadedPipeline) -> None:
    page, session = Page(loaded, example_comparison()), Session()
    *_, last = asked(page, session)
    about = last[page.view.about]
    assert page.show_script(session, "todo", about) == (last[page.view.details.code], gr.skip())
    code, said = page.show_script(Session(), "todo", about)
    assert code == ""
    assert "is gone" in said
    (only,) = page.repeat_on_page(Session(), about, from_here())
    assert "is gone" in only[page.view.message]
    code, said = page.show_script(Session(), "todo", page.first_view.about)
    assert "ToDo(factor=2)" in code
    assert said == gr.skip()


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
    *_, last = asked(page, session, **ONLY_THE_MODEL_REFUSES)
    for file in pictures(page, last).values():
        Path(file).unlink()
    *_, last = asked(page, session, **ONLY_THE_MODEL_REFUSES)
    assert list(pictures(page, last)) == THREE
    for method, file in pictures(page, last).items():
        assert same_picture(file, session.shown.comparison.result(method).image)


def test_a_method_of_somebody_elses_is_a_column_of_the_page_and_in_the_answer_of_the_api(
    loaded: LoadedPipeline, monkeypatch
) -> None:
    theirs = Method(
        id="elses", label="Else's", description="", colour="#0000ff", enable=lambda *_: nullcontext()
    )
    monkeypatch.setattr(methods, "METHODS", (*methods.METHODS, theirs))
    page, session = Page(loaded, example=None), Session()
    assert ("Else's", "elses") in page.form.settings["methods"].choices
    *_, last = asked(page, session, methods=["baseline", "elses"])
    image = session.shown.comparison.result("elses").image
    assert same_picture(pictures(page, last)["elses"], image)
    assert "identical" in bar(page, last, "elses")
    assert "not counted" in last[page.view.details.numbers]
    assert last[page.view.details.method]["value"] == "elses"
    *_, (gallery, report) = page.compare(from_here(), *settings_of(methods=["elses", "baseline"]))
    assert [caption for _, caption in gallery] == ["Baseline", "Else's"]
    result = report["results"][1]
    assert (result["method"], result["flop_speedup"], result["identical"]) == ("elses", None, True)
    assert result["seconds"] > 0
