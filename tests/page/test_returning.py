"""What brings something back, without a browser, on a tiny random model."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from html import unescape
from urllib.parse import urlencode
from zipfile import ZipFile

import gradio as gr
import pytest
from PIL import Image

from app import Page
from compare import Request, load_comparison
from page.returning import FORGOTTEN, IS_RUNNING, NO_PICTURE, NOT_KEPT, OF_A_LINK, WAS_LOST, WAS_RUNNING
from page.stage import PINNED
from page.updates import STILL_RUNNING
from page.visit import Session
from tests.helpers.visitors import from_here, settings_of, wait_until
from tests.page.test_page import THREE, asked, pictures, same_picture


def event(**data: object) -> gr.EventData:
    return gr.EventData(None, data)


def loads(page: Page, link: str = "", kept: str = "", how: str = "reload", **visit: object) -> dict:
    """The window is loaded again."""
    came = event(link=link, kept=kept, visit=json.dumps(visit) if visit else "", how=how)
    return page.returning.restore(Session(), came)


def in_form(page: Page, updates: dict) -> dict[str, object]:
    return {name: updates[field] for name, field in page.form.settings.items() if field in updates}


def said(page: Page, updates: dict) -> str:
    return unescape(str(updates.get(page.view.message, "")))


def test_a_link_fills_the_form_and_leaves_the_rest_as_it_is_at_first(page: Page) -> None:
    updates = loads(page, link="prompt=a+cat&width=128&methods=todo", how="navigate")
    assert in_form(page, updates) == {
        **page.form.first, "prompt": "a cat", "width": 128, "methods": ["todo"],
    }  # fmt: skip
    assert OF_A_LINK in said(page, updates)


def test_every_setting_of_the_form_comes_back_from_a_link(page: Page) -> None:
    first = page.form.first
    texts = {
        name: value if isinstance(value, list) else "" if value is None else str(value)
        for name, value in first.items()
    }
    updates = loads(page, link=urlencode(texts, doseq=True))
    assert in_form(page, updates) == first
    assert said(page, updates) == ""


def test_a_link_counts_before_what_the_browser_has_kept(page: Page) -> None:
    kept = json.dumps({"prompt": "a dog", "steps": 7})
    assert in_form(page, loads(page, link="prompt=a+cat", kept=kept))["steps"] == page.form.first["steps"]
    assert in_form(page, loads(page, kept=kept)) == {"prompt": "a dog", "steps": 7}


@pytest.mark.parametrize("kept", ["", "nonsense", "[]", '{"step": 1, "width": "wide"}'])
def test_what_the_browser_has_kept_of_an_older_page_is_not_complained_about(page: Page, kept: str) -> None:
    updates = loads(page, kept=kept)
    assert in_form(page, updates) == {}
    assert said(page, updates) == ""


def test_what_is_wrong_in_a_link_is_said_at_its_field_and_stays_there(page: Page) -> None:
    updates = loads(page, link="width=3&<b>=1")
    assert in_form(page, updates)["width"] == 3
    assert 'data-at="width"' in updates[page.view.message]
    assert "Width must be a multiple of 8" in said(page, updates)
    assert "Not understood, and left out: <b> = '1'." in said(page, updates)
    assert "<b>" not in updates[page.view.message]


def test_over_a_limit_of_this_server_a_link_is_told_so(page: Page) -> None:
    assert 'data-at="repeats"' in loads(page, link="repeats=20")[page.view.message]


def test_a_window_that_is_loaded_again_has_its_comparison_and_strip(page: Page) -> None:
    session = Session()
    list(asked(page, session))
    updates = loads(page, token=session.token, running=False)
    assert updates[page.view.session] is session
    assert updates[page.view.about] == session.shown.about
    assert session.strip[0].id in updates[page.view.strip]
    assert said(page, updates) == ""


def begun(page: Page, session: Session, **changes: object) -> Iterator[dict]:
    """A run that has begun."""
    run = asked(page, session, **{"steps": 60, **changes})
    next(update for update in run if "is running" in str(update.get(page.view.message)))
    return run


def test_a_window_that_is_loaded_again_follows_its_run(page: Page) -> None:
    session = Session()
    begun(page, session).close()  # as gradio does when the window has gone
    updates = loads(page, token=session.token, running=True)
    assert updates[page.view.memory]["follow"]
    assert not updates[page.view.compare_button]["interactive"]
    first, *_, last = page.follow_on_page(session)
    assert STILL_RUNNING in said(page, first)
    assert not first[page.view.compare_button]["interactive"]
    assert first[page.view.stop_button]["interactive"]
    assert "Done." in said(page, last)
    assert len(session.shown.comparison.results) == len(THREE)
    assert session.stop is None
    assert not loads(page, token=session.token, running=False)[page.view.memory]["follow"]


def test_it_sees_what_the_window_has_missed(page: Page) -> None:
    session, seen = Session(), {}
    run = begun(page, session, steps=4)
    while page.view.stage not in seen:
        seen |= next(run)
    run.close()
    first = next(follow := page.follow_on_page(session))
    assert pictures(page, first)
    assert "running" in first[page.view.about]
    assert "Until its first" not in first[page.view.about]
    list(follow)


def test_a_window_comes_back_before_the_server_has_noticed_that_it_was_gone(page: Page) -> None:
    session = Session()
    run = begun(page, session)
    assert loads(page, token=session.token, running=True)[page.view.memory]["follow"]
    threading.Timer(0.3, run.close).start()
    *_, last = page.follow_on_page(session)
    assert "Done." in said(page, last)


def test_an_end_that_no_window_saw_is_seen_by_the_next(page: Page) -> None:
    session = Session()
    run = begun(page, session, steps=3)
    for update in run:
        if "Done." in said(page, update):
            run.close()
    (only,) = page.follow_on_page(session)
    assert "Done." in said(page, only)
    assert only[page.view.about] == session.shown.about
    assert session.stop is None


def test_a_run_that_nobody_comes_back_for_ends_and_that_is_said(page: Page) -> None:
    session = Session()
    run = asked(page, session, steps=100)
    next(run)
    session.followed._patience = 0.1
    run.close()
    wait_until(lambda: session.stop is None)
    assert not session.followed.is_left
    updates = loads(page, token=session.token, running=True)
    assert WAS_RUNNING in said(page, updates)
    assert not updates[page.view.memory]["follow"]
    assert WAS_RUNNING not in said(page, loads(page, token=session.token, running=False))


def test_another_run_of_the_window_is_not_disturbed(page: Page) -> None:
    session = Session()
    first = begun(page, session)
    begun_later = asked(page, session, steps=60)
    later = threading.Timer(0.3, lambda: next(begun_later))
    later.start()
    (only,) = page.follow_on_page(session)
    assert list(only) == [page.view.session]
    assert not session.stop.is_set()
    page.stop(session)
    later.join()
    list(begun_later)
    list(first)


def test_a_run_whose_window_is_never_seen_to_go_ends_when_it_is_loaded_again(page: Page, monkeypatch) -> None:
    session = Session()
    run = begun(page, session)
    monkeypatch.setattr("app.wait_until_left", lambda session: None)
    (only,) = page.follow_on_page(session)
    assert WAS_RUNNING in said(page, only)
    assert session.stop.is_set()
    list(run)


def test_a_copy_of_a_window_does_not_end_its_run(page: Page) -> None:
    session = Session()
    run = begun(page, session)
    updates = loads(page, token=session.token, running=True, how="navigate")
    assert not session.stop.is_set()
    assert not updates[page.view.memory]["follow"]
    assert said(page, updates) == ""
    page.stop(session)
    list(run)


def test_after_the_server_was_restarted_the_window_says_what_is_gone(page: Page) -> None:
    assert FORGOTTEN in said(page, loads(page, token="of-another-server", running=False))
    assert WAS_LOST in said(page, loads(page, token="of-another-server", running=True))
    assert said(page, loads(page, token="", running=False)) == ""


@pytest.mark.parametrize(
    "data", [None, "text", 7, [], {}, {"id": 7, "act": None, "link": [], "visit": "[" * 9999}]
)
def test_an_event_can_bring_anything(page: Page, data: object) -> None:
    came = gr.EventData(None, data)
    assert said(page, page.returning.restore(Session(), came)) == ""
    assert NOT_KEPT in said(page, page.returning.act(Session(), came))
    assert NO_PICTURE in said(page, page.returning.restore_picture(came))


def test_a_picture_brings_its_settings_back(page: Page) -> None:
    session = Session()
    list(asked(page, session, seed=9))
    file = page.view.show(session.shown, session)[page.view.stage][-1]["file"]["path"]
    with Image.open(file) as picture:
        updates = page.returning.restore_picture(event(settings=picture.info["settings"]))
    assert Request(**in_form(page, updates)) == session.shown.request
    assert "Not understood" not in said(page, updates)


def test_a_picture_from_elsewhere_changes_nothing(page: Page) -> None:
    updates = page.returning.restore_picture(event(settings="Steps: 20, Sampler: Euler a"))
    assert in_form(page, updates) == {}
    assert "Not understood" in said(page, updates)


def test_the_strip_brings_a_comparison_back_and_its_settings_when_asked(page: Page) -> None:
    session = Session()
    list(asked(page, session, seed=1))
    list(asked(page, session, seed=2))
    first, second = session.strip
    updates = page.returning.act(session, event(id=first.id, act="show"))
    assert session.shown is first.shown
    assert "seed 1" in updates[page.view.about]
    assert in_form(page, updates) == {}
    assert in_form(page, page.returning.act(session, event(id=second.id, act="take")))["seed"] == 2


def test_a_pinned_comparison_stands_beside_the_others(page: Page) -> None:
    session = Session()
    list(asked(page, session, factor=2))
    pinned = session.strip[0]
    page.returning.act(session, event(id=pinned.id, act="pin"))
    *_, last = asked(page, session, factor=1)
    on_stage = last[page.view.stage]
    assert [(entry["id"], entry["label"]) for entry in on_stage] == [
        ("baseline", "Baseline"),
        ("tome", "ToMe, factor 1"),
        (f"{PINNED}tome", "ToMe, factor 2"),
        ("todo", "ToDo, factor 1"),
        (f"{PINNED}todo", "ToDo, factor 2"),
    ]
    assert on_stage[3]["colour"] == on_stage[4]["colour"]
    assert same_picture(on_stage[4]["file"]["path"], pinned.shown.comparison.result("todo").image)
    updates = page.returning.act(session, event(id=pinned.id, act="pin"))
    assert len(updates[page.view.stage]) == 3


def test_of_another_prompt_the_pinned_baseline_comes_too(page: Page) -> None:
    session = Session()
    list(asked(page, session, seed=1))
    session.pin(session.strip[0])
    *_, last = asked(page, session, seed=2)
    assert [entry["label"] for entry in last[page.view.stage]][:2] == ["Baseline, seed 2", "Baseline, seed 1"]


def test_while_something_runs_the_strip_waits(page: Page) -> None:
    session = Session()
    list(asked(page, session))
    run = asked(page, session, steps=100)
    next(run)
    before = session.shown
    updates = page.returning.act(session, event(id=session.strip[0].id, act="show"))
    assert IS_RUNNING in said(page, updates)
    assert session.shown is before
    page.stop(session)
    list(run)


def test_everything_can_be_taken_home_and_read_back(page: Page, tmp_path) -> None:
    session = Session()
    *_, last = asked(page, session, prompt="a fox, on navy", seed=3)
    packed, _ = page.pack(session, last[page.view.about], event(what="archive", asked="1"))
    assert packed["name"] == "comparison-factor2-a-fox-on-navy-seed3.zip"
    with ZipFile(packed["file"]["path"]) as files:
        assert files.testzip() is None
        files.extractall(tmp_path)
    comparison = session.shown.comparison
    back = load_comparison(tmp_path / "comparison-factor2-a-fox-on-navy-seed3")
    assert back.model_dump() == comparison.model_dump()
    assert [each.image.tobytes() for each in back.results] == [
        each.image.tobytes() for each in comparison.results
    ]
    sheet, _ = page.pack(session, last[page.view.about], event(what="sheet", asked="2"))
    assert sheet["name"].endswith("seed3.png")
    with Image.open(sheet["file"]["path"]) as picture:
        assert json.loads(picture.info["settings"])["seed"] == 3


def test_a_download_of_what_is_gone_says_so(page: Page) -> None:
    _, sentence = page.pack(Session(), "something else", event(what="archive", asked="1"))
    assert "is gone" in sentence


def test_taking_it_home_leaves_the_pictures_encoded(page: Page) -> None:
    session = Session()
    *_, last = asked(page, session)
    page.pack(session, last[page.view.about], event(what="archive", asked="1"))
    assert all(result.image.fp is not None for result in session.shown.comparison.results)


def test_until_the_first_picture_the_one_before_stays(page: Page) -> None:
    session = Session()
    list(asked(page, session))
    before = session.shown
    run = asked(page, session, steps=4)
    seen = {}
    for update in run:
        assert page.view.stage not in update or any(entry["file"] for entry in update[page.view.stage])
        seen |= update
        if page.view.stage not in seen:
            assert page.view.details.column not in seen
    assert session.shown is not before


def test_stop_before_the_first_picture_brings_the_one_before_back(page: Page) -> None:
    session = Session()
    list(asked(page, session))
    before = session.shown
    seen = {}
    for update in asked(page, session, steps=100):
        seen |= update
        if "is running" in str(update.get(page.view.message)):
            page.stop(session)
    assert "There was no picture yet" in seen[page.view.message]
    assert session.shown is before
    assert seen[page.view.about] == before.about
    assert [entry["id"] for entry in seen[page.view.stage]] == ["baseline", "tome", "todo"]
    assert seen[page.view.details.numbers] == before.numbers


def test_a_refusal_is_said_at_its_field(page: Page) -> None:
    for name, value in {"width": 3, "prompt": "", "guidance_scale": 99, "methods": []}.items():
        (only,) = page.compare_on_page(Session(), from_here(), *settings_of(**{name: value}))
        assert f'data-at="{page.form.id_of(name)}"' in only[page.view.message]
    for name, component in page.form.settings.items():
        assert component.elem_id
        assert page.form.id_of(name) == component.elem_id
