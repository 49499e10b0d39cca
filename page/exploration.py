"""A visitor's own exploration: comparisons at several factors, one point for each method of each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from compare.errors import InvalidRequest
from compare.methods import BASELINE, Method, method_of
from compare.request import Request
from compare.words import in_words
from page.bars import Bars
from page.charts import Axis, Closeness, Mark, Series, all_series
from page.explore import PSNR
from page.html import render
from page.verdict import Column

TICK = 0.25
"""Between two lines of the axis of speed-ups."""
TICKS = 6  # of that axis at most, so that they can be read on a phone
STEP = 10
"""Between two lines of the axis of closeness, dB."""


@dataclass(frozen=True)
class Point:
    """One method at one factor, beside Baseline of the same comparison."""

    method: str
    label: str
    factor: str
    """"" if the method has none."""
    speedup: float
    is_in_doubt: bool
    """Whether the speed-up cannot be trusted."""
    psnr: float | None
    """In dB; None if the pictures are identical."""
    closeness: str
    seconds: float
    comparison: str = ""
    """The id by which the session keeps its pictures; "" until the comparison has ended."""

    @classmethod
    def of(cls, column: Column, request: Request) -> Point:
        """Of a result that was compared with Baseline."""
        result = column.result
        has_factor = depends_on_factor(method_of(result.method), request)
        return cls(
            method=result.method,
            label=result.label,
            factor=in_words(request.factor) if has_factor else "",
            speedup=result.speedup,
            is_in_doubt=column.doubt is not None,
            psnr=result.scores.psnr,
            closeness=column.closeness,
            seconds=result.times.seconds,
        )

    @property
    def title(self) -> str:
        return f"{self.label}, factor {self.factor}" if self.factor else self.label

    @property
    def gain(self) -> str:
        return f"{self.speedup:.2f}×" + (" (unsure: times varied)" if self.is_in_doubt else "")

    @property
    def decibels(self) -> str:
        return "identical" if self.psnr is None else f"{self.psnr:.1f} dB"


@dataclass
class Exploration:
    """What was asked for, how it stands, and what has been measured.

    Args:
        requests: the comparisons, one after another.
    """

    requests: tuple[Request, ...]
    points: tuple[Point, ...] = ()
    bars: Bars = field(default_factory=Bars)
    """Of the comparison that is running."""
    to_come: float | None = None
    """Seconds of the comparisons that have not begun; None: nobody knows."""
    said: str = ""
    """How it has ended, in a sentence; "" as long as it is on."""
    is_unseen: bool = False
    """Whether it has ended, and no window saw that."""
    comparisons: tuple[str, ...] = ()
    """Those that have ended, by the ids by which the session keeps them."""

    @property
    def first(self) -> Request:
        return self.requests[0]

    @property
    def done(self) -> int:
        """Comparisons that have ended."""
        return len(self.comparisons)

    @property
    def wanted(self) -> int:
        """Points there will be."""
        return sum(len(request.methods) - 1 for request in self.requests)

    @property
    def share(self) -> float:
        """The part that is done, 0 to 1."""
        return (self.done + self.bars.share) / len(self.requests)

    @property
    def left(self) -> float | None:
        """Seconds until the last point; None: nobody knows."""
        left = self.bars.left
        return None if left is None or self.to_come is None else left + self.to_come

    def add(self, column: Column) -> None:
        """A method of the running comparison is done."""
        self.points += (Point.of(column, self.requests[self.done]),)

    def ended(self, comparison: str) -> None:
        """The running comparison has ended, and the session keeps it by this id."""
        self.points = tuple(
            point if point.comparison else replace(point, comparison=comparison) for point in self.points
        )
        self.comparisons += (comparison,)
        self.bars = Bars()

    def kept(self, ids: Sequence[str]) -> tuple[Point, ...]:
        """The points, those whose pictures are kept no longer without an id.

        Args:
            ids: of the comparisons that are kept.
        """
        return tuple(
            point if point.comparison in ids else replace(point, comparison="") for point in self.points
        )

    def html(self, ids: Sequence[str]) -> str:
        """The chart and the table. `ids` are those of the comparisons that are kept."""
        if not self.points:
            return ""
        measured = self.kept(ids)
        return render("exploration", exploration=self, measured=measured, chart=chart_of(measured))

    @property
    def standing(self) -> str:
        """How it stands, as HTML."""
        return render("exploration_standing", exploration=self)


def chart_of(points: Sequence[Point]) -> Closeness:
    """The points, on axes on which all of them lie."""
    across, up = _speedups(points), _closeness(points)
    series = all_series(point.method for point in points)
    return Closeness(across, up, tuple(_mark(point, series[point.method], across, up) for point in points))


def requests_of(settings: Mapping[str, object], factors: Sequence[str]) -> tuple[Request, ...]:
    """The comparisons of an exploration: one for each factor, beside Baseline. A method that has no factor
    runs in the first.

    Args:
        settings: the fields of a `Request`, without the factor.

    Raises:
        InvalidRequest: with a sentence for the visitor.
    """
    methods = settings["methods"]
    asked = {**settings, "methods": [BASELINE.id, *(id for id in methods if id != BASELINE.id)]}
    if not factors:
        raise InvalidRequest("No factor was chosen: choose some.")
    if len(asked["methods"]) == 1:
        raise InvalidRequest("No method was chosen: choose some to be measured beside Baseline.")
    first, *others = (Request(**{**asked, "factor": factor}) for factor in factors)
    again = tuple(
        method.id for method in first.chosen if method is BASELINE or depends_on_factor(method, first)
    )
    if again == (BASELINE.id,):
        return (first,)
    return (first, *(replace(other, methods=again) for other in others))


def depends_on_factor(method: Method, request: Request) -> bool:
    """Whether another factor makes another picture."""
    other = replace(request, factor=3 if request.factor == 2 else 2)
    return bool(method.needs) or method.patches(request) != method.patches(other)


def _mark(point: Point, series: Series, across: Axis, up: Axis) -> Mark:
    return Mark(
        series=series,
        x=across.at(point.speedup),
        y=up.at(math.inf if point.psnr is None else point.psnr),
        text=point.factor.partition(",")[0],
        title=point.title,
        facts=(
            ("speed-up", point.gain),
            ("PSNR", point.decibels),
            ("difference", point.closeness),
            ("time", f"{point.seconds:.2f} s"),
        ),
        comparison=point.comparison,
    )


def _speedups(points: Sequence[Point]) -> Axis:
    speedups = [1.0, *(point.speedup for point in points)]
    low, high = math.floor(min(speedups) / TICK), math.ceil(max(speedups) / TICK + 0.1)
    apart = math.ceil((high - low) / TICKS)
    return Axis(low * TICK, high * TICK, tuple(tick * TICK for tick in range(low, high + 1, apart)))


def _closeness(points: Sequence[Point]) -> Axis:
    psnr = [point.psnr for point in points if point.psnr is not None]
    low, high = min([PSNR.low, *psnr]), max([PSNR.high, *psnr])
    ticks = range(math.ceil(low / STEP) * STEP, math.floor(high) + 1, STEP)
    return Axis(low, high, tuple(map(float, ticks)))
