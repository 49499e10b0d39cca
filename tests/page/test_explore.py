"""The tab Explore against the rows and the benchmarks that it speaks of."""

from __future__ import annotations

import json
import re
from html import unescape
from itertools import pairwise
from pathlib import Path
from statistics import median_low

import numpy as np
import pytest

from compare.figures import (
    FRONTIER,
    FRONTIER_TIMES,
    RESULTS,
    Curves,
    Frontier,
    FrontierPoint,
    MethodPoint,
    Speeds,
    read_figures,
)
from compare.methods import METHODS, method_of
from page.charts import Axis, Mark, all_series
from page.explore import (
    ALL_PSNR,
    ALL_SPEEDUP,
    NOT_HERE,
    PSNR,
    SPEEDUP,
    TEXT,
    TIMES,
    curve_charts,
    document,
    explore_html,
    frontier_charts,
    in_words,
    speed_charts,
)

FIGURES = read_figures()
PROJECT = RESULTS.parents[1]


def rows_of(sweep: str, study: str = "rotating-grid") -> list[dict]:
    lines = (RESULTS / study / sweep / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def charts() -> list[tuple[Mark, ...]]:
    plots = [chart.plot for chart in (*frontier_charts(FIGURES), *curve_charts(FIGURES))]
    return [*(plot.marks for plot in plots), *(chart.marks for chart in speed_charts(FIGURES))]


def marks() -> list[Mark]:
    return [mark for chart in charts() for mark in chart]


def is_of(row: dict, point: FrontierPoint) -> bool:
    """Whether the row is of this method at this setting."""
    per_cent = point.setting.removesuffix(" %")
    if point.method == "forecast":
        return row["method"] == ("forecast" if per_cent == "30" else f"forecast-{per_cent}")
    if point.method == "fewer-steps":
        return row["method"] == f"fewer-{per_cent}"
    if point.method in ("deepcache", "pab"):
        return row["method"] == ("deepcache-3" if point.setting == "3" else point.method)
    factor = row["factor"] if isinstance(row["factor"], list) else [row["factor"]]
    return (row["method"], ", ".join(map(str, factor))) == (point.method, point.setting)


@pytest.mark.parametrize(
    ("curves", "point"), [(curves, point) for curves in FIGURES.curves for point in curves.points]
)
def test_a_point_of_the_curves_has_the_median_and_the_quartiles_of_its_rows(
    curves: Curves, point: MethodPoint
) -> None:
    rows = [
        row
        for row in rows_of(point.sweep)
        if (row["method"], str(row["factor"])) == (point.method, point.factor)
    ]
    assert {(row["width"], row["height"]) for row in rows} == {(curves.width, curves.height)}
    assert len(rows) == point.pictures
    for name in ("speedup", "psnr"):
        drawn = getattr(point, name)
        quartiles = np.percentile([row[name] for row in rows], [25, 50, 75], method="inverted_cdf")
        assert [drawn.low, drawn.middle, drawn.high] == pytest.approx(quartiles.tolist(), abs=1e-4)


def test_the_curves_have_every_method_and_factor_of_their_sweeps() -> None:
    for curves in FIGURES.curves:
        sweeps = {point.sweep for point in curves.points}
        measured = {(row["method"], str(row["factor"])) for sweep in sweeps for row in rows_of(sweep)}
        assert {(point.method, point.factor) for point in curves.points} == measured


@pytest.mark.parametrize("frontier", FIGURES.frontiers, ids=lambda frontier: str(frontier.width))
def test_a_point_of_a_frontier_has_the_medians_of_the_pictures_that_all_methods_have(
    frontier: Frontier,
) -> None:
    def of_size(sweeps: tuple[str, ...]) -> list[dict]:
        rows = [row for sweep in sweeps for row in rows_of(sweep, "what-to-use")]
        return [row for row in rows if (row["width"], row["height"]) == (frontier.width, frontier.height)]

    scored, timed = of_size(FRONTIER), of_size(FRONTIER_TIMES)
    of_points = [{row["prompt"]: row for row in scored if is_of(row, point)} for point in frontier.points]
    common = set.intersection(*map(set, of_points))
    assert len(common) >= 3
    for point, rows in zip(frontier.points, of_points, strict=True):
        assert point.pictures == len(common)
        for name in ("psnr", "flip"):
            middle = median_low([rows[prompt][name] for prompt in common])
            assert getattr(point, name) == pytest.approx(middle, abs=1e-4)
        speeds = [row["speedup"] for row in timed if is_of(row, point)]
        assert (point.speedup, point.timed) == (pytest.approx(median_low(speeds), abs=1e-4), len(speeds))
        better = [
            other
            for other in frontier.points
            if other is not point and other.speedup >= point.speedup and other.psnr >= point.psnr
        ]
        assert point.is_best == (better == []), point


def test_a_frontier_says_how_fast_one_gets_without_a_visible_change() -> None:
    page = re.sub(r"<[^>]+>|\s+", " ", unescape(explore_html()))
    page = re.sub(r"\s+", " ", page)
    for chart in frontier_charts(FIGURES):
        for least in (40, 30):
            best = max(p.speedup for p in chart.frontier.points if p.psnr >= least)
            assert chart.fastest(least).speedup == best
            assert f"up to {best:.2f}×" in page
        assert chart.fastest(99) is None


def test_texts_of_points_have_room() -> None:
    for chart in frontier_charts(FIGURES):
        texts = [mark for mark in chart.plot.marks if mark.text]
        assert len(texts) > len(chart.plot.marks) / 2
        for at, mark in enumerate(texts):
            assert len(mark.text) <= 3
            for other in texts[:at]:
                assert abs(mark.x - other.x) >= TEXT[0] or abs(mark.y - other.y) >= TEXT[1]


@pytest.mark.parametrize("bench", FIGURES.benches, ids=lambda bench: bench.folders[0])
def test_a_speed_is_a_row_of_its_benchmark(bench: Speeds) -> None:
    rows = [
        row
        for folder in bench.folders
        for row in json.loads((RESULTS / folder / "bench.json").read_text(encoding="utf-8"))["rows"]
        if row["factor"] is not None
    ]
    assert len(rows) == len(bench.speeds)
    for row, speed in zip(rows, bench.speeds, strict=True):
        timing = row["run"] if bench.steps else row["step"]
        assert (row["width"], row["height"], row["method"]) == (speed.width, speed.height, speed.method)
        assert speed.factor in (row["factor"], None)
        assert speed.speedup == pytest.approx(timing["paired"]["median"], abs=1e-4)
        assert speed.interval == pytest.approx(timing["paired"]["interval"], abs=1e-4)
        assert speed.rounds == len(timing["seconds"])


def test_a_method_without_a_factor_shows_none() -> None:
    factors = {speed.method: speed.factor for bench in FIGURES.benches for speed in bench.speeds}
    assert factors["deepcache"] is None
    assert factors["forecast"] is None
    assert factors["todo-rotating+forecast"] == 2


def test_every_number_of_a_point_is_on_the_page() -> None:
    page = unescape(explore_html())
    assert len(marks()) > 50
    for mark in marks():
        assert f'aria-label="{mark.name}"' in page
        for fact, value in mark.facts:
            assert f"<dt>{fact}</dt><dd>{value}</dd>" in page
    assert page.count('class="point ') == len(marks())
    assert page.count('<th scope="row">') == len(marks())


def test_no_point_lies_beyond_its_axes() -> None:
    for curves in FIGURES.curves:
        for point in curves.points:
            assert SPEEDUP.low < point.speedup.middle < SPEEDUP.high
            assert PSNR.low < point.psnr.middle < PSNR.high
    for frontier in FIGURES.frontiers:
        for point in frontier.points:
            assert ALL_SPEEDUP.low < point.speedup < ALL_SPEEDUP.high
            assert ALL_PSNR.low < point.psnr < ALL_PSNR.high
    for bench in FIGURES.benches:
        for speed in bench.speeds:
            assert TIMES.low < speed.speedup < TIMES.high


def test_an_axis_says_where_a_value_stands() -> None:
    axis = Axis(1, 3, (1, 2, 3))
    assert [axis.at(value) for value in (1, 1.5, 3)] == [0, 25, 100]
    assert [axis.at(value) for value in (-5, 9)] == [0, 100]


def test_faster_is_right_and_closer_is_up() -> None:
    points = [point for curves in FIGURES.curves for point in curves.points]
    drawn = [mark for chart in curve_charts(FIGURES) for mark in chart.plot.marks]
    pairs = sorted(zip(points, drawn, strict=True), key=lambda pair: pair[0].psnr.middle)
    assert all(lower[1].y <= higher[1].y for lower, higher in pairwise(pairs))
    pairs.sort(key=lambda pair: pair[0].speedup.middle)
    assert all(slower[1].x <= faster[1].x for slower, faster in pairwise(pairs))
    assert "Up and to the right is better" in explore_html()


@pytest.mark.parametrize(
    ("psnr", "words"),
    [(22, "visible"), (29.9, "visible"), (30, "hard to see"), (40, "invisible"), (60, "invisible")],
)
def test_closeness_in_words(psnr: float, words: str) -> None:
    assert in_words(psnr) == words


def test_the_bands_of_words_cover_the_axis() -> None:
    for chart in (*frontier_charts(FIGURES), *curve_charts(FIGURES)):
        bands = chart.plot.bands
        assert (bands[0][0], bands[-1][1]) == (0, 100)
        assert all(lower[1] == higher[0] for lower, higher in pairwise(bands))


def test_a_figure_can_be_read_on_the_colour_of_every_method() -> None:
    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return float(np.dot([0.2126, 0.7152, 0.0722], linear))

    for one in all_series(method.id for method in METHODS).values():
        on = luminance(one.method.colour)
        ink = 0.0 if one.ink == "#000" else 1.0
        assert (max(on, ink) + 0.05) / (min(on, ink) + 0.05) >= 4.5, one.method.id


def test_two_methods_of_a_chart_never_look_alike() -> None:
    for chart in charts():
        looks = {(mark.series.method.colour, mark.series.shape): mark.series.method.id for mark in chart}
        assert len(looks) == len({mark.series.method.id for mark in chart})
        for mark in chart:
            assert mark.series.method is method_of(mark.series.method.id)


def test_the_commands_name_files_of_the_project() -> None:
    page = unescape(explore_html())
    commands = re.findall(r"<code>(python -m compare [^<]+)</code>", page)
    assert len(commands) >= len(FIGURES.curves) + len(FIGURES.benches)
    files = re.findall(r"docs/\S+?\.(?:toml|md)", page)
    assert files
    assert [file for file in files if not (PROJECT / file).is_file()] == []
    for bench in FIGURES.benches:
        for folder, command in zip(bench.folders, bench.commands, strict=True):
            assert command in (RESULTS / folder / "bench.md").read_text(encoding="utf-8")


def test_the_page_says_which_weights_it_speaks_of() -> None:
    page = explore_html()
    for measured in (*FIGURES.frontiers, *FIGURES.curves):
        assert measured.weights in page
        assert measured.device in page


def test_a_space_links_to_its_own_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPACE_ID", raising=False)
    assert document("docs/sweep.md") is None
    monkeypatch.setenv("SPACE_ID", "someone/page")
    address = "https://huggingface.co/spaces/someone/page/blob/main/docs/rotating-grid.md"
    assert document("docs/rotating-grid.md") == address
    assert f'<a href="{address}">' in explore_html()


def test_without_the_figures_the_tab_says_so(tmp_path: Path) -> None:
    assert NOT_HERE in explore_html(tmp_path / "figures.json")
    (tmp_path / "figures.json").write_text('{"curves": []}')
    assert NOT_HERE in explore_html(tmp_path / "figures.json")
