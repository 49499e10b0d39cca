"""A visitor's own exploration, without a browser, on a tiny random model."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path
from zipfile import ZipFile

import gradio as gr
import pytest

from app import Page
from compare.methods import METHODS, method_of
from compare.request import Request
from compare.study.rows import read_sweep
from page.exploration import Exploration, Point, chart_of, depends_on_factor, requests_of
from page.exploring import ANOTHERS, COMPARE, DONE, IS_RUNNING, STOPPED
from page.returning import LOADED_AGAIN, NOT_KEPT, WAS_EXPLORING
from page.visit import KEPT, Session
from server.front_door.visits import Visit
from server.limits import Limits
from server.runs import Runs
from tests.helpers.visitors import from_here, settings_of
from tests.page.test_page import asked, pictures
from tests.page.test_returning import event, loads, said

TWO = ["tome", "todo"]
REQUEST = Request(prompt="a fox", width=64, height=64, steps=2, guidance_scale=4.0)


def explores(
    page: Page,
    session: Session,
    factors: list[str] = ["2", "4"],  # noqa: B006
    methods: list[str] = TWO,
    prompt: str = "a fox",
    **changes: object,
) -> Iterator[dict]:
    return page.explore_on_page(session, from_here(), prompt, 64, factors, methods, *settings_of(**changes))


def standing(page: Page, update: dict) -> str:
    return " ".join(
        re.sub(r"<[^>]*>", " ", unescape(str(update.get(page.exploring.form.standing, "")))).split()
    )


def board(page: Page, update: dict) -> str:
    return unescape(str(update.get(page.exploring.form.board, "")))


def test_points_appear_as_they_are_done_and_bring_their_pictures_in_the_end(page: Page) -> None:
    session = Session()
    updates = list(explores(page, session))
    counts = [board(page, update).count('class="point ') for update in updates if board(page, update)]
    assert sorted(set(counts)) == [1, 2, 3, 4]
    assert counts == sorted(counts)
    words = [standing(page, update) for update in updates]
    for expected in (
        "Factor 2 is about to start. 0 of 4 points done",
        "Factor 2: ToMe is running, step 1 of 2. 0 of 4 points done",
        "Factor 4: ToDo is warming up. 3 of 4 points done",
    ):
        assert any(expected in word for word in words), expected
    last = updates[-1]
    assert standing(page, last) == DONE
    assert last[page.exploring.form.measure]["interactive"]
    assert not last[page.exploring.form.stop]["interactive"]
    assert session.stop is None
    assert [kept.request.factor for kept in session.strip] == [2, 4]
    assert [point.title for point in session.exploration.points] == [
        f"{label}, factor {factor}" for factor in (2, 4) for label in ("ToMe", "ToDo")
    ]
    for kept in session.strip:
        assert board(page, last).count(f'data-id="{kept.id}"') == 4  # a point and a row of both methods


def test_a_point_says_what_its_comparison_says(page: Page) -> None:
    session = Session()
    list(explores(page, session))
    for point in session.exploration.points:
        result = session.kept(point.comparison).shown.result(point.method)
        assert point.speedup == result.speedup
        assert point.psnr == result.scores.psnr
        assert point.seconds == result.times.seconds


def test_the_other_tab_stays_as_it_is_until_a_point_is_asked_for(page: Page) -> None:
    session = Session()
    list(asked(page, session))
    before = session.shown
    updates = list(explores(page, session, prompt="a cat"))
    assert session.shown is before
    assert not any(page.view.stage in update or page.view.about in update for update in updates)
    id = session.exploration.points[-1].comparison
    shown = page.exploring.show(session, event(id=id))
    assert shown[page.exploring.tabs].selected == COMPARE
    assert session.shown is session.kept(id).shown
    assert set(pictures(page, shown)) == {"baseline", *TWO}
    assert "a cat" in shown[page.view.about]


def test_of_methods_without_a_factor_there_is_one_point(page: Page) -> None:
    session = Session()
    list(explores(page, session, methods=["todo", "forecast"]))
    titles = [point.title for point in session.exploration.points]
    assert titles == ["ToDo, factor 2", "Forecast", "ToDo, factor 4"]
    list(explores(page, session, methods=["forecast"]))
    assert len(session.exploration.requests) == 1


def test_which_methods_have_a_factor() -> None:
    without = {method.id for method in METHODS if not depends_on_factor(method, REQUEST)}
    assert without == {"baseline", "forecast", "deepcache", "deepcache-3", "pab"}


def test_all_else_is_as_the_other_tab_says_and_every_method_is_timed_once(page: Page) -> None:
    session = Session()
    list(explores(page, session, steps=3, seed=9, repeats=4, until=0.5, prompt="a cat", factors=["2, 2"]))
    (request,) = session.exploration.requests
    assert (request.steps, request.seed, request.until, request.repeats) == (3, 9, 0.5, 1)
    assert (request.prompt, request.width, request.factor) == ("a cat", 64, (2, 2))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"factors": []}, "No factor was chosen"),
        ({"methods": []}, "No method was chosen"),
        ({"prompt": " "}, "The prompt is empty"),
        ({"prompt": "a" * 1001}, "1000 characters on this server"),
        ({"factors": ["2", "8"]}, "level 0 has 4x4"),
        ({"steps": 0}, "Steps must be"),
        ({"methods": ["todo-rotating"], "pooling": "average"}, "rotating grid"),
    ],
)
def test_what_is_refused_is_refused_before_anything_runs(page: Page, changes: dict, words: str) -> None:
    session = Session()
    (only,) = explores(page, session, **changes)
    assert words in standing(page, only)
    assert 'class="error"' in only[page.exploring.form.standing]
    assert session.exploration is None
    assert session.stop is None


def test_one_run_of_a_window_at_a_time(page: Page) -> None:
    session = Session()
    run = asked(page, session, steps=60)
    next(run)
    (only,) = explores(page, session)
    assert IS_RUNNING in standing(page, only)
    assert not session.stop.is_set()
    page.stop(session)
    list(run)


def test_it_ends_for_another_comparison_of_the_window(page: Page) -> None:
    session = Session()
    run = explores(page, session, steps=60)
    next(update for update in run if "running" in standing(page, update))
    list(asked(page, session))
    *_, last = run
    assert "asked for another comparison" in standing(page, last)
    assert len(session.shown.comparison.results) == 3


def test_stop_keeps_what_is_done(page: Page) -> None:
    session = Session()
    run = explores(page, session, steps=30)
    next(update for update in run if board(page, update).count('class="point ') == 1)
    page.stop(session)
    *_, last = run
    assert standing(page, last) == STOPPED
    (kept,) = session.strip
    assert {result.method for result in kept.shown.results} >= {"baseline", "tome"}
    assert f'data-id="{kept.id}"' in board(page, last)
    assert session.stop is None


def test_stopped_before_the_first_point_it_leaves_nothing(page: Page) -> None:
    session = Session()
    run = explores(page, session)
    next(run)
    page.stop(session)
    *_, last = run
    assert standing(page, last) == STOPPED
    assert board(page, last) == ""
    list(explores(page, session))
    assert len(session.exploration.points) == 4


def test_a_window_that_goes_ends_it(page: Page) -> None:
    session = Session()
    run = explores(page, session, steps=30)
    next(update for update in run if board(page, update))
    run.close()
    assert session.stop is None
    assert session.exploration.said == LOADED_AGAIN
    assert WAS_EXPLORING in said(page, loads(page, token=session.token, running=True))
    assert WAS_EXPLORING not in said(page, loads(page, token=session.token, running=False))


def test_a_window_that_only_explored_has_its_strip_when_it_is_loaded_again(page: Page) -> None:
    session = Session()
    list(explores(page, session))
    updates = loads(page, token=session.token, running=False)
    assert all(kept.id in updates[page.view.strip] for kept in session.strip)
    assert updates[page.view.about] == page.first_view.about
    assert said(page, updates) == ""


def test_a_window_that_is_loaded_again_has_its_points(page: Page) -> None:
    session = Session()
    run = explores(page, session, steps=30)
    next(update for update in run if board(page, update))
    updates = loads(page, token=session.token, running=True)
    assert WAS_EXPLORING in said(page, updates)
    assert not updates[page.view.memory]["follow"]
    seen = page.exploring.look(session, "a fox", 64, ["2"], TWO, *settings_of())
    assert board(page, seen).count('class="point ') == 1
    assert standing(page, seen) == LOADED_AGAIN
    list(run)
    assert session.exploration.said == LOADED_AGAIN
    assert session.stop is None


def test_a_failure_says_why_and_the_next_one_works(page: Page, monkeypatch) -> None:
    def fails(*_: object) -> Iterator[object]:
        raise RuntimeError("secret")
        yield

    session = Session()
    with monkeypatch.context() as patch:
        patch.setattr(page.runs, "run", fails)
        *_, last = explores(page, session)
    assert "The run failed" in standing(page, last)
    assert last[page.exploring.form.measure]["interactive"]
    list(explores(page, session))
    assert session.exploration.said == DONE


def test_what_is_refused_in_the_middle_keeps_the_points(page: Page) -> None:
    runs = Runs(page.runs.run, Limits(per_minute=1), plan=page.runs.plan)
    session = Session()
    settings = ("a fox", 64, ["2", "4"], TWO, *settings_of())
    *_, last = replace(page.exploring, runs=runs).measure(session, Visit("127.0.0.1"), *settings)
    assert "minute" in standing(page, last)
    assert board(page, last).count('class="point ') == 2


def test_the_rows_are_those_of_a_sweep(page: Page, tmp_path: Path) -> None:
    session = Session()
    list(explores(page, session, methods=["todo", "forecast"]))
    first, last = page.exploring.export(session)
    assert "Scoring" in standing(page, first)
    assert standing(page, last) == DONE
    download = last[page.exploring.downloads]
    assert download["name"] == "rows-a-fox-seed0.zip"
    with ZipFile(download["file"]["path"]) as archive:
        archive.extractall(tmp_path)
    setup, rows = read_sweep(tmp_path / "rows")
    assert setup.model == page.loaded.info.source
    assert [(row.method, row.factor) for row in rows] == [("todo", 2), ("forecast", 2), ("todo", 4)]
    for row, point in zip(rows, session.exploration.points, strict=True):
        assert row.speedup == point.speedup
        assert row.psnr == point.psnr
        assert row.flip is not None


def test_rows_of_others_are_waited_for(page: Page) -> None:
    session = Session()
    list(explores(page, session))
    with page.exploring.scoring:
        (only,) = page.exploring.export(session)
    assert ANOTHERS in standing(page, only)
    assert len(list(page.exploring.export(session))) == 2


def test_what_is_kept_no_longer_says_so(page: Page) -> None:
    session = Session()
    list(explores(page, session))
    first, second = session.exploration.comparisons
    for _ in range(KEPT - 1):
        list(asked(page, session))
    assert session.kept(first) is None
    assert NOT_KEPT in standing(page, page.exploring.show(session, event(id=first)))
    seen = page.exploring.look(session, "a fox", 64, ["2"], TWO, *settings_of())
    assert f'data-id="{first}"' not in board(page, seen)
    assert board(page, seen).count("kept no longer") == 2
    assert f'data-id="{second}"' in board(page, seen)
    *_, last = page.exploring.export(session)
    assert "Without 1 of the comparisons" in standing(page, last)
    session.forget()
    assert board(page, page.exploring.look(session, "a fox", 64, ["2"], TWO, *settings_of())) == ""


@pytest.mark.parametrize("data", [None, "text", 7, [], {"id": 7}, {"id": "<b>"}])
def test_an_event_can_bring_anything(page: Page, data: object) -> None:
    shown = page.exploring.show(Session(), gr.EventData(None, data))
    assert NOT_KEPT in standing(page, shown)
    (only,) = page.exploring.export(Session())
    assert NOT_KEPT in standing(page, only)


def test_the_prompt_cannot_put_anything_into_the_page(page: Page) -> None:
    session = Session()
    *_, last = explores(page, session, prompt="<script>alert(1)</script>")
    assert "<script>" not in last[page.exploring.form.board]


def test_what_to_expect_is_said_before(page: Page) -> None:
    def expected(*factors: str, methods: list[str] = TWO) -> str:
        said = page.exploring.expect(Session(), "a fox", 64, list(factors), methods, *settings_of())
        return standing(page, {page.exploring.form.standing: said})

    assert expected("2", "3").startswith("4 points in 2 comparisons")
    assert "1 point in 1 comparison" in expected("2", "3", methods=["forecast"])
    list(explores(page, Session()))
    assert "about" in expected("2")
    assert "No factor" in expected()


POINT = Point(
    method="todo", label="ToDo", factor="2", speedup=1.2, is_in_doubt=False, psnr=33.0,
    closeness="hard to see", seconds=1.0,
)  # fmt: skip


@pytest.mark.parametrize(
    ("speedups", "psnrs"),
    [([0.6, 1.0], [12.0, 70.0]), ([5.9], [None]), ([1.0], [30.0]), ([1.25, 1.5], [18.0, 48.0])],
)
def test_every_point_lies_on_its_axes(speedups: list[float], psnrs: list[float | None]) -> None:
    points = [replace(POINT, speedup=speedup, psnr=psnr) for speedup in speedups for psnr in psnrs]
    chart = chart_of(points)
    across, up = chart.across, chart.up
    assert 2 <= len(across.ticks) <= 8
    for axis in (across, up):
        assert axis.low <= axis.ticks[0] <= axis.ticks[-1] <= axis.high
    for point, mark in zip(points, chart.marks, strict=True):
        assert mark.x == pytest.approx(
            100 * (point.speedup - across.low) / (across.high - across.low), abs=0.01
        )
        assert across.low <= point.speedup < across.high
        if point.psnr is None:
            assert mark.y == 100
        else:
            assert mark.y == pytest.approx(100 * (point.psnr - up.low) / (up.high - up.low), abs=0.01)
    assert [words for *_, words in chart.bands] == ["visible", "hard to see", "invisible"]


def test_an_exploration_knows_how_far_it_is() -> None:
    settings = {**vars(REQUEST), "methods": ["todo", "forecast"]}
    exploration = Exploration(requests_of(settings, ["2", "3", "4"]))
    assert exploration.wanted == 4
    assert exploration.share == 0
    assert exploration.left is None
    exploration.ended("one")
    assert exploration.share == pytest.approx(1 / 3)
    assert method_of("todo").id in exploration.requests[1].methods
    assert json.loads(json.dumps(exploration.standing))
