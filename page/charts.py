"""Where the points of a chart stand, in percent of its plot from the left and from below.

The templates draw them as HTML over the chart's SVG: text keeps its size on every screen, and every point can
be focused and has a name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise

from compare.methods import METHODS, Method
from compare.report import HARD_TO_SEE, INVISIBLE
from page.verdict import in_words

SHAPES = ("square", "disc", "diamond", "drop")
"""Beside their colours, for those who cannot tell these apart."""


@dataclass(frozen=True)
class Axis:
    """From `low` to `high`, with lines at `ticks`."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def at(self, value: float) -> float:
        """In percent of the axis; what lies beyond an end stands at that end."""
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(max(share, 0), 1), 2)


@dataclass(frozen=True)
class Series:
    """How the points of one method look."""

    method: Method
    shape: str

    @property
    def ink(self) -> str:
        """What can be read on its colour."""
        red, green, blue = (int(self.method.colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
        # Relative luminance; black and white have the same contrast to 0.18 (WCAG 2.2).
        light = 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2
        return "#000" if light > 0.18 else "#fff"


@dataclass(frozen=True)
class Mark:
    """One point."""

    series: Series
    x: float
    y: float
    text: str
    """In the point, at most three characters."""
    title: str
    facts: tuple[tuple[str, str], ...]
    """What it says to those who point at it."""
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    is_joined: bool = True
    """Whether the line of its method goes through it."""
    comparison: str = ""
    """The id of the comparison whose pictures a click brings; "" if there are none."""

    @property
    def name(self) -> str:
        """For screen readers."""
        return f"{self.title}: " + ", ".join(f"{fact} {value}" for fact, value in self.facts)


@dataclass(frozen=True)
class Closeness:
    """Points over speed-up (from left to right) and closeness to Baseline in dB (from below), a line for each
    method, and the words for what somebody sees of a difference."""

    across: Axis
    up: Axis
    marks: tuple[Mark, ...]
    best: tuple[Mark, ...] = ()
    """Those that no other beats, from slow to fast, if they are to be drawn as a path."""

    @property
    def lines(self) -> list[tuple[Series, str]]:
        """Each method's points, in an SVG of 100 × 100."""
        by_series: dict[Series, list[Mark]] = {}
        for mark in self.marks:
            of_series = by_series.setdefault(mark.series, [])
            if mark.is_joined:
                of_series.append(mark)
        return [(series, _path(marks)) for series, marks in by_series.items()]

    @property
    def frontier(self) -> str:
        return _path(self.best)

    @property
    def bands(self) -> list[tuple[float, float, str]]:
        """From where to where, in percent, a difference is seen as these words say."""
        edges = pairwise((self.up.low, HARD_TO_SEE, INVISIBLE, self.up.high))
        return [(self.up.at(low), self.up.at(high), in_words(low)) for low, high in edges]


def spaced(marks: Iterable[Mark], across: float, up: float) -> list[Mark]:
    """The marks, without the text of those that stand too near to an earlier one.

    Args:
        across, up: what a text takes, in percent of the plot.
    """
    kept: list[Mark] = []
    for mark in marks:
        crowded = any(
            other.text and abs(other.x - mark.x) < across and abs(other.y - mark.y) < up for other in kept
        )
        kept.append(replace(mark, text="") if crowded else mark)
    return kept


def _path(marks: Iterable[Mark]) -> str:
    return " ".join(f"{mark.x:g},{100 - mark.y:g}" for mark in marks)


def all_series(methods: Iterable[str]) -> dict[str, Series]:
    """The series of these methods by their ids, in the order of the registry."""
    wanted = set(methods)
    ordered = [method for method in METHODS if method.id in wanted]
    return {method.id: Series(method, SHAPES[at % len(SHAPES)]) for at, method in enumerate(ordered)}
