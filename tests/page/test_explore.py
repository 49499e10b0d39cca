"""The tab Explore against the rows and the benchmarks that it speaks of."""

from __future__ import annotations

import json
import re
from html import unescape
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from compare.figures import RESULTS, Curves, MethodPoint, Speeds, read_figures
from compare.methods import METHODS, method_of
from page.charts import Axis, Mark, all_series
from page.explore import (
    BANDS,
    NOT_HERE,
    PSNR,
    SPEEDUP,
    TIMES,
    curve_charts,
    document,
    explore_html,
    in_words,
    speed_charts,
)

FIGURES = read_figures()
PROJECT = RESULTS.parents[1]


def rows_of(sweep: str) -> list[dict]:
    lines = (RESULTS / "rotating-grid" / sweep / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def marks() -> list[Mark]:
    charts = [*curve_charts(FIGURES), *speed_charts(FIGURES)]
    return [mark for chart in charts for mark in chart.marks]


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
    for bench in FIGURES.benches:
        for speed in bench.speeds:
            assert TIMES.low < speed.speedup < TIMES.high


def test_an_axis_says_where_a_value_stands() -> None:
    axis = Axis(1, 3, (1, 2, 3))
    assert [axis.at(value) for value in (1, 1.5, 3)] == [0, 25, 100]
    assert [axis.at(value) for value in (-5, 9)] == [0, 100]


def test_faster_is_right_and_closer_is_up() -> None:
    points = [point for curves in FIGURES.curves for point in curves.points]
    drawn = [mark for chart in curve_charts(FIGURES) for mark in chart.marks]
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
    assert BANDS[0][0] == PSNR.low
    assert BANDS[-1][1] == PSNR.high
    assert all(lower[1] == higher[0] for lower, higher in pairwise(BANDS))


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
    for chart in [*curve_charts(FIGURES), *speed_charts(FIGURES)]:
        looks = {
            (mark.series.method.colour, mark.series.shape): mark.series.method.id for mark in chart.marks
        }
        assert len(looks) == len({mark.series.method.id for mark in chart.marks})
        for mark in chart.marks:
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
    for curves in FIGURES.curves:
        assert curves.weights in page
        assert curves.device in page


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
