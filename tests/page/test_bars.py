"""The bars of a run, event after event."""

from __future__ import annotations

import re
from html import unescape

import pytest

from compare.events import MethodDone, MethodStarted, StepDone
from compare.experiment.pace import Estimate
from compare.request import Request
from page.bars import Bars
from tests.page.test_verdict import result

ASKED = Request(
    prompt="a fox",
    width=64,
    height=64,
    steps=10,
    guidance_scale=1.0,
    methods=("baseline", "todo"),
)


def words(bars: Bars) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", unescape(bars.html())).split())


def test_before_it_begins_all_wait_and_say_what_is_expected_of_them() -> None:
    bars = Bars.waiting(ASKED)
    assert words(bars) == "About to start Baseline Waiting to start ToDo Waiting to start"
    bars = bars.expecting(Estimate(18.0, {"baseline": 10.0, "todo": 6.0}))
    assert "All done in about 16 s." in words(bars)
    assert "ToDo Waiting, about 6.0 s" in words(bars)


def test_the_running_method_says_its_step_and_the_seconds_gone_and_left() -> None:
    bars = Bars.waiting(ASKED).after(MethodStarted("baseline", 10, 1, 1))
    assert "Baseline is warming up" in words(bars)
    assert "Warming up; then 10 steps" in words(bars)
    bars = bars.after(StepDone("baseline", 4, 10, 2.0, None))
    assert "Baseline is running" in words(bars)
    assert "Step 4 of 10 · 2.0 s gone, 3.0 s left" in words(bars)
    assert '<progress value="4" max="10" aria-label="Baseline" style="width: 100.0%">' in bars.html()


def test_bars_are_as_long_as_their_times() -> None:
    bars = Bars.waiting(ASKED).after(MethodDone(result("baseline", times=(10.0,))))
    bars = bars.after(MethodStarted("todo", 10, 1, 1)).after(StepDone("todo", 5, 10, 3.0, None))
    assert re.findall(r"width: ([\d.]+)%", bars.html()) == ["100.0", "60.0"]


def test_what_is_left_counts_the_repeats_to_come() -> None:
    asked = Request(**{**vars(ASKED), "repeats": 3})
    bars = Bars.waiting(asked).expecting(Estimate(99.0, {"baseline": 10.0, "todo": 5.0}))
    assert bars.left == pytest.approx(45.0)
    bars = bars.after(MethodStarted("baseline", 10, 1, 3)).after(StepDone("baseline", 5, 10, 5.0, None))
    assert bars.left == pytest.approx(40.0)
    bars = bars.after(MethodDone(result("baseline", times=(10.0,))))
    assert bars.left == pytest.approx(35.0)
    bars = bars.after(MethodStarted("todo", 10, 1, 3)).after(StepDone("todo", 4, 10, 2.0, None))
    assert "Repeat 1 of 3, step 4 of 10" in words(bars)
    assert bars.left == pytest.approx(33.0)
    bars = bars.after(MethodDone(result("todo", times=(5.0,)))).after(MethodStarted("baseline", 10, 2, 3))
    assert bars.left == pytest.approx(30.0)


def test_the_share_that_is_done_counts_loops() -> None:
    bars = Bars.waiting(Request(**{**vars(ASKED), "repeats": 2}))
    assert bars.share == 0
    bars = bars.after(MethodStarted("baseline", 10, 1, 2)).after(StepDone("baseline", 5, 10, 5.0, None))
    assert bars.share == pytest.approx(0.5 / 4)
    bars = bars.after(MethodDone(result("baseline", times=(10.0,))))
    bars = bars.after(MethodStarted("todo", 10, 1, 2)).after(MethodDone(result("todo", times=(5.0,))))
    bars = bars.after(MethodStarted("baseline", 10, 2, 2)).after(StepDone("baseline", 5, 10, 5.0, None))
    assert bars.share == pytest.approx(2.5 / 4)
    assert '<progress class="whole" value="0.625"' in bars.html()


def test_a_run_that_ended_early_says_who_had_begun() -> None:
    said = words(Bars.of(ASKED, None, begun=("baseline",)))
    assert "Baseline Stopped before it was done" in said
    assert "ToDo Not started" in said


def test_a_speed_up_in_doubt_is_no_number() -> None:
    bars = Bars.waiting(ASKED).after(MethodDone(result("baseline", times=(10.0,))))
    bars = bars.after(MethodDone(result("todo", speedup=9.9)))
    assert "9.9" not in words(bars)
    assert "ToDo: how much faster is unsure; the difference is hard to see." in words(bars)
