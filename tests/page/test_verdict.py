"""What a comparison says in words, and which times are trusted."""

from __future__ import annotations

import pytest
from PIL import Image

from compare.methods import BASELINE, METHODS
from compare.report import LevelTokens, PlanSummary, Result, Scores, Times
from page.verdict import Column, Impossible, Uneven, best_first, closeness, doubt

LEVEL = LevelTokens(level=0, grid=(8, 8), blocks=1, tokens=64, query_tokens=64, kv_tokens=16)


def result(
    method: str = "todo",
    times: tuple[float, ...] = (5.0,),
    speedup: float | None = 1.5,
    ceiling: float | None = 2.0,
    psnr: float | None = 35.0,
    steps: tuple[float, float] | None = None,
) -> Result:
    is_baseline = method == BASELINE.id
    plan = PlanSummary(flops_before=2, flops_after=1, flop_speedup=1.4, ceiling=ceiling, levels=(LEVEL,))
    return Result(
        method=method,
        steps=2,
        times=Times(denoising=times, decoding=0.1, steps=steps),
        plan=plan,
        speedup=1.0 if is_baseline else speedup,
        scores=None
        if is_baseline
        else Scores(identical=psnr is None, psnr=psnr, ssim=0.9, high_frequency=1.0),
        image=Image.new("RGB", (8, 8)),
    )


@pytest.mark.parametrize(
    ("psnr", "word"),
    [
        (None, "identical"),
        (40.0, "invisible"),
        (39.9, "hard to see"),
        (30.0, "hard to see"),
        (29.9, "visible"),
    ],
)
def test_closeness_in_words(psnr: float | None, word: str) -> None:
    assert closeness(result(psnr=psnr).scores) == word


def test_a_speed_up_within_what_can_be_is_trusted() -> None:
    assert doubt(result(speedup=2.2), result("baseline")) is None
    assert doubt(result(times=(5.0, 5.5, 5.2)), result("baseline", times=(10.0, 10.9))) is None


def test_a_speed_up_far_above_its_bound_is_not_trusted() -> None:
    assert doubt(result(speedup=2.4), result("baseline")) == Impossible(2.0)
    # Fewer steps leave attention alone, and have no ceiling: their operations are the bound.
    assert doubt(result(speedup=1.7, ceiling=None), result("baseline")) == Impossible(1.4)


def test_times_that_spread_are_not_trusted_whose_ever_they_are() -> None:
    steady, spread = result("baseline", times=(10.0, 10.1)), result(times=(5.0, 6.5))
    assert doubt(spread, steady) == Uneven(spread, 5.0, 6.5, of_steps=False)
    spread = result("baseline", times=(10.0, 13.0))
    assert doubt(result(), spread) == Uneven(spread, 10.0, 13.0, of_steps=False)


def test_a_single_run_whose_steps_were_uneven_is_not_trusted_and_the_median_of_several_is() -> None:
    steady, uneven = result("baseline"), result(steps=(0.3, 1.5))
    assert doubt(uneven, steady) == Uneven(uneven, 0.3, 1.5, of_steps=True)
    assert doubt(result(times=(5.0, 5.1, 5.0), steps=(0.3, 1.5)), steady) is None
    assert doubt(result(steps=(0.3, 0.5)), steady) is None
    assert doubt(result(steps=(0.001, 0.005)), steady) is None  # too short to be even anywhere


def test_without_a_speed_up_there_is_nothing_to_doubt() -> None:
    assert doubt(result(times=(5.0, 9.0), speedup=None), None) is None
    baseline = result("baseline", times=(5.0, 9.0))
    assert doubt(baseline, baseline) is None


def test_the_best_is_faster_then_closest_then_fastest() -> None:
    columns = [
        Column(result("baseline"), None),
        Column(result("tome", speedup=1.9, psnr=25.0), None),
        Column(result("todo", speedup=1.4, psnr=38.0), None),
        Column(result("todo-rotating", speedup=1.6, psnr=33.0), None),
        Column(result("forecast", speedup=1.01, psnr=None), None),
    ]
    assert [column.result.method for column in best_first(tuple(columns))] == [
        "todo-rotating", "todo", "tome", "forecast",
    ]  # fmt: skip
    assert {column.result.method for column in columns} <= {method.id for method in METHODS}
