"""The tab Explore: what has been measured, as charts that say what they show and how to redo it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from compare.figures import (
    FILE,
    Curves,
    Figures,
    Frontier,
    FrontierPoint,
    MethodPoint,
    MethodSpeed,
    Speeds,
    read_figures,
)
from compare.methods import method_of
from compare.report import HARD_TO_SEE, INVISIBLE
from page.charts import Axis, Closeness, Mark, Series, all_series, spaced
from page.html import message, render
from page.verdict import in_words

NOT_HERE = "What has been measured is not in this copy of the project: assets/figures.json is missing."
SPEEDUP = Axis(1.0, 2.3, (1.0, 1.25, 1.5, 1.75, 2.0, 2.25))
PSNR = Axis(18, 48, (20, 30, 40))
"""Of the curves of ToDo and ToMe."""
ALL_SPEEDUP = Axis(0.9, 3.4, (1.0, 1.5, 2.0, 2.5, 3.0))
ALL_PSNR = Axis(15, 55, (20, 30, 40, 50))
"""Of the charts with every method."""
TEXT = (7.0, 4.2)
"""What the text of a point takes of such a chart on a phone, in percent across and up."""
TIMES = Axis(0.75, 3.0, (1.0, 1.5, 2.0, 2.5, 3.0))
GROUP = 0.9
"""The part of a group's width that its methods take."""
ANSWER = "docs/what-to-use.md"
STUDY = "docs/rotating-grid.md"
BENCHES = "docs/results/README.md"


@dataclass(frozen=True)
class FrontierChart:
    """Every method at one size, and those that none beats."""

    frontier: Frontier
    plot: Closeness

    @property
    def size(self) -> str:
        return f"{self.frontier.width}×{self.frontier.height}"

    def fastest(self, psnr: float) -> FrontierPoint | None:
        """Of the points that are at least so close to Baseline, in dB; None if none is and is faster."""
        close = [point for point in self.frontier.points if point.psnr >= psnr and point.speedup > 1]
        return max(close, key=lambda point: point.speedup, default=None)


@dataclass(frozen=True)
class CurveChart:
    """Closeness over speed-up at one size."""

    curves: Curves
    plot: Closeness

    @property
    def size(self) -> str:
        return f"{self.curves.width}×{self.curves.height}"

    @property
    def closest(self) -> MethodPoint:
        return max(self.curves.points, key=lambda point: point.psnr.middle)

    @property
    def fastest(self) -> MethodPoint:
        return max(self.curves.points, key=lambda point: point.speedup.middle)

    @property
    def commands(self) -> tuple[str, ...]:
        sweeps = dict.fromkeys(point.sweep for point in self.curves.points)
        return tuple(
            f"python -m compare sweep docs/rotating-grid/{sweep}.toml --device cpu --out sweep/{sweep}"
            for sweep in sweeps
        )

    @property
    def pictures(self) -> int:
        return max(point.pictures for point in self.curves.points)

    @property
    def fewer_pictures(self) -> dict[str, int]:
        """By method, where it was measured on a part of the prompts."""
        return {
            point.method: point.pictures for point in self.curves.points if point.pictures < self.pictures
        }


@dataclass(frozen=True)
class SpeedChart:
    """Speed-ups of the methods, size by size."""

    speeds: Speeds
    marks: tuple[Mark, ...]
    groups: tuple[tuple[str, float], ...]
    """The sizes, and where each stands."""
    bounds: tuple[tuple[float, float], ...]
    """Where the upper bound of a point is."""
    axis: Axis = TIMES

    @property
    def title(self) -> str:
        return f"{self.speeds.model}, " + (
            f"a run of {self.speeds.steps} steps" if self.speeds.steps else "a step"
        )


def add_explore() -> None:
    """The contents of the tab, in the context of `gr.Blocks`."""
    gr.HTML(explore_html(), elem_id="explore", apply_default_css=False)


def explore_html(file: Path = FILE) -> str:
    """The same as text, of the figures in this file."""
    try:
        figures = read_figures(file)
    except (OSError, ValueError):
        return message("quiet", NOT_HERE)
    return render(
        "explore",
        figures=figures,
        frontiers=frontier_charts(figures),
        curves=curve_charts(figures),
        speeds=speed_charts(figures),
        limits=((INVISIBLE, "invisible"), (HARD_TO_SEE, "hard to see")),
        in_words=in_words,
        label=lambda method: method_of(method).label,
        name_of=name_of,
        document=document,
        answer=ANSWER,
        study=STUDY,
        benches=BENCHES,
    )


def document(path: str) -> str | None:
    """Where a visitor can read a document of the project: on a Space its own repository; elsewhere nobody
    but the one who started the page has the file."""
    space = os.environ.get("SPACE_ID")
    return f"https://huggingface.co/spaces/{space}/blob/main/{path}" if space else None


def frontier_charts(figures: Figures) -> list[FrontierChart]:
    series = all_series(point.method for frontier in figures.frontiers for point in frontier.points)
    return [_frontier_chart(frontier, series) for frontier in figures.frontiers]


def curve_charts(figures: Figures) -> list[CurveChart]:
    series = all_series(point.method for curves in figures.curves for point in curves.points)
    return [_curve_chart(curves, series) for curves in figures.curves]


def speed_charts(figures: Figures) -> list[SpeedChart]:
    series = all_series(speed.method for bench in figures.benches for speed in bench.speeds)
    return [_speed_chart(bench, series) for bench in figures.benches]


def name_of(point: FrontierPoint) -> str:
    """Method and setting, as in "ToDo, factor 2"."""
    return f"{method_of(point.method).label}, {point.in_words}"


def _frontier_chart(frontier: Frontier, series: dict[str, Series]) -> FrontierChart:
    marks = spaced((_frontier_point(point, series[point.method]) for point in frontier.points), *TEXT)
    best = [mark for point, mark in zip(frontier.points, marks, strict=True) if point.is_best]
    best.sort(key=lambda mark: mark.x)
    return FrontierChart(frontier, Closeness(ALL_SPEEDUP, ALL_PSNR, tuple(marks), tuple(best)))


def _frontier_point(point: FrontierPoint, series: Series) -> Mark:
    return Mark(
        series=series,
        x=ALL_SPEEDUP.at(point.speedup),
        y=ALL_PSNR.at(point.psnr),
        text=point.setting.replace(" ", "").removesuffix("%"),
        title=name_of(point),
        facts=(
            ("speed-up", f"{point.speedup:.2f}×"),
            ("PSNR", f"{point.psnr:.1f} dB"),
            ("FLIP", f"{point.flip:.3f}"),
            ("difference", in_words(point.psnr)),
            ("pictures", f"{point.pictures}, timed: {point.timed}"),
        ),
        is_joined=point.is_joined,
    )


def _curve_chart(curves: Curves, series: dict[str, Series]) -> CurveChart:
    marks = (_point(point, series[point.method]) for point in curves.points)
    return CurveChart(curves, Closeness(SPEEDUP, PSNR, tuple(marks)))


def _point(point: MethodPoint, series: Series) -> Mark:
    speedup, psnr = point.speedup, point.psnr
    return Mark(
        series=series,
        x=SPEEDUP.at(speedup.middle),
        y=PSNR.at(psnr.middle),
        text=point.factor,
        title=f"{series.method.label}, factor {point.factor}",
        facts=(
            ("speed-up", f"{speedup.middle:.2f}× ({speedup.low:.2f} to {speedup.high:.2f})"),
            ("PSNR", f"{psnr.middle:.1f} dB ({psnr.low:.1f} to {psnr.high:.1f})"),
            ("difference", in_words(psnr.middle)),
            ("pictures", str(point.pictures)),
        ),
        x_range=(SPEEDUP.at(speedup.low), SPEEDUP.at(speedup.high)),
        y_range=(PSNR.at(psnr.low), PSNR.at(psnr.high)),
    )


def _speed_chart(bench: Speeds, series: dict[str, Series]) -> SpeedChart:
    by_size: dict[tuple[int, int], list[MethodSpeed]] = {}
    for speed in bench.speeds:
        by_size.setdefault((speed.width, speed.height), []).append(speed)
    order = list(series)
    width = 100 / len(by_size)
    column = GROUP * width / max(map(len, by_size.values()))
    marks, bounds, groups = [], [], []
    for number, ((w, h), speeds) in enumerate(by_size.items()):
        middle = width * (number + 0.5)
        groups.append((f"{w} px" if w == h else f"{w}×{h}", round(middle, 2)))
        in_order = sorted(speeds, key=lambda speed: (order.index(speed.method), speed.factor or 0))
        for at, speed in enumerate(in_order):
            x = round(middle + column * (at + 0.5 - len(speeds) / 2), 2)
            marks.append(_speed(speed, series[speed.method], bench, x))
            if speed.bound is not None:
                bounds.append((x, TIMES.at(speed.bound)))
    return SpeedChart(bench, tuple(marks), tuple(groups), tuple(bounds))


def _speed(speed: MethodSpeed, series: Series, bench: Speeds, x: float) -> Mark:
    what = f"a run of {bench.steps} steps" if bench.steps else "a step"
    spread = "" if speed.interval is None else f" ({speed.interval[0]:.2f} to {speed.interval[1]:.2f})"
    facts = [
        ("speed-up", f"{speed.speedup:.2f}×{spread}"),
        (what, f"{_seconds(speed.seconds)}, Baseline {_seconds(speed.baseline_seconds)}"),
        ("rounds", str(speed.rounds)),
    ]
    if speed.bound is not None:
        facts.insert(1, ("upper bound", f"{speed.bound:.2f}×"))
    factor = "" if speed.factor is None else f", factor {speed.factor}"
    return Mark(
        series=series,
        x=x,
        y=TIMES.at(speed.speedup),
        text="" if speed.factor is None else str(speed.factor),
        title=f"{series.method.label}{factor}, {speed.width}×{speed.height}",
        facts=tuple(facts),
        y_range=None if speed.interval is None else tuple(map(TIMES.at, speed.interval)),
    )


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"
