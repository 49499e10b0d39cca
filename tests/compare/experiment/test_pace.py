"""How long a run takes, judged by those before."""

from __future__ import annotations

import pytest
from PIL import Image

from compare.experiment.pace import Pace
from compare.report import LevelTokens, PlanSummary, Result, Times
from compare.request import Request

LEVEL = LevelTokens(level=0, grid=(8, 8), blocks=1, tokens=64, query_tokens=64, kv_tokens=16)
BEFORE, AFTER = 1000, 500  # FLOPs of a call for one picture at 512×512


def request(**changes: object) -> Request:
    settings = {
        "prompt": "a fox", "width": 512, "height": 512, "steps": 10, "guidance_scale": 1.0,
        "methods": ("baseline", "todo"),
    }  # fmt: skip
    return Request(**{**settings, **changes})


def plans(asked: Request) -> dict[str, PlanSummary]:
    after = {"baseline": BEFORE, "todo": AFTER}
    scale = asked.width * asked.height / 512**2
    return {
        method.id: PlanSummary(
            flops_before=int(BEFORE * scale),
            flops_after=int(flops * scale) if (flops := after.get(method.id)) else None,
            flop_speedup=None,
            ceiling=None,
            levels=(LEVEL,),
        )
        for method in asked.chosen
        if method.steps is None
    }


def timed(pace: Pace, asked: Request, method: str, seconds: float, decoding: float = 0.0) -> None:
    times = Times(denoising=(seconds,), decoding=decoding)
    image = Image.new("RGB", (8, 8))
    plan = plans(asked)[method]
    pace.add(asked, Result(method=method, steps=asked.steps, times=times, plan=plan, image=image))


def test_before_anything_was_timed_nothing_is_said() -> None:
    assert Pace().estimate(request(), plans(request())) is None


def test_warm_up_decoding_and_repeats_are_part_of_it() -> None:
    pace, asked = Pace(), request(repeats=2)
    timed(pace, asked, "baseline", 10.0, decoding=0.5)
    timed(pace, asked, "todo", 6.0, decoding=0.5)
    estimate = pace.estimate(asked, plans(asked))
    assert estimate.denoising == pytest.approx({"baseline": 10.0, "todo": 6.0})
    spin_up = 1.0 + 0.5
    assert estimate.seconds == pytest.approx(spin_up + 2 * (10 + 1 + 0.5) + 2 * (6 + 0.6 + 0.5))


def test_a_method_that_was_not_timed_is_judged_by_its_work() -> None:
    pace, asked = Pace(), request()
    timed(pace, asked, "baseline", 10.0)
    assert pace.estimate(asked, plans(asked)).denoising == pytest.approx({"baseline": 10.0, "todo": 5.0})


def test_guidance_steps_and_size_change_the_work() -> None:
    pace = Pace()
    timed(pace, request(), "baseline", 10.0)
    larger = request(width=1024, steps=20, guidance_scale=4.0, methods=("baseline",))
    assert pace.estimate(larger, plans(larger)).denoising == pytest.approx({"baseline": 80.0})


def test_the_nearest_size_counts_and_what_is_far_away_says_nothing() -> None:
    pace, asked = Pace(), request(methods=("baseline",))
    timed(pace, request(width=256, height=512), "baseline", 99.0)
    timed(pace, asked, "baseline", 10.0)
    assert pace.estimate(asked, plans(asked)).denoising == pytest.approx({"baseline": 10.0})
    far = request(width=2048, height=2048, methods=("baseline",))
    assert pace.estimate(far, plans(far)) is None


def test_one_slow_run_among_many_changes_nothing() -> None:
    pace, asked = Pace(), request(methods=("baseline",))
    for seconds in (10.0, 10.0, 60.0, 10.0):
        timed(pace, asked, "baseline", seconds)
    assert pace.estimate(asked, plans(asked)).denoising == pytest.approx({"baseline": 10.0})


def test_fewer_steps_take_the_time_that_they_are_given() -> None:
    pace, asked = Pace(), request(methods=("baseline", "todo", "fewer-steps"))
    timed(pace, asked, "baseline", 10.0)
    timed(pace, asked, "todo", 6.5)  # six steps of Baseline and a half
    assert pace.estimate(asked, plans(asked)).denoising["fewer-steps"] == pytest.approx(6.0)


def test_what_nobody_counted_is_judged_by_itself_alone() -> None:
    pace, asked = Pace(), request(methods=("baseline", "pab"))
    work = plans(asked)
    timed(pace, asked, "baseline", 10.0)
    assert pace.estimate(asked, work).denoising["pab"] == pytest.approx(10.0)  # at most
    times = Times(denoising=(8.0,), decoding=0.0)
    image = Image.new("RGB", (8, 8))
    pace.add(asked, Result(method="pab", steps=10, times=times, plan=work["pab"], image=image))
    assert pace.estimate(asked, work).denoising == pytest.approx({"baseline": 10.0, "pab": 8.0})
