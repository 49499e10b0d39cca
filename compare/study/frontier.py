"""Which method is worth it: closeness to Baseline over measured speed-up, and the methods that none beats.

``python -m compare.study.frontier --closeness FOLDER ... --times FOLDER ... --out FOLDER`` joins sweeps of
the same settings: scores of many prompts from some, whose machine may have been busy, and times of fewer
prompts from others, whose machine was idle. It writes ``frontier.png`` and ``frontier.md``. Every point is of
the same prompts and noise: those that all of its size have.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median_low

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from compare.errors import InvalidRequest
from compare.methods import FEWER_STEPS
from compare.report import HARD_TO_SEE, INVISIBLE
from compare.study.curve import factor_of
from compare.study.row_folder import read_rows
from compare.study.rows import Row, check_one_device, check_same_weights
from compare.study.studied import studied_method


@dataclass(frozen=True)
class Line:
    """One method through its settings."""

    id: str
    """Of the method in the registry that it stands for."""
    label: str
    colour: str
    words: str
    """What a setting is, with {} for its name: "factor {}"."""
    point: Callable[[Row], str]
    """How the row's setting is named beside its point."""
    has: Callable[[Row], bool]


def _of_factors(id: str) -> Line:
    method = studied_method(id)
    return Line(id, method.label, method.colour, "factor {}", factor_of, lambda row: row.method == id)


def _of_ids(id: str, words: str, names: dict[str, str]) -> Line:
    """A method whose settings are entries of their own."""
    method = studied_method(id)
    return Line(
        id, method.label, method.colour, words, lambda row: names[row.method], lambda row: row.method in names
    )


PER_CENTS = (10, 20, 30, 40, 50, 60)
LINES = (
    _of_factors("tome"),
    _of_factors("tome-kv"),
    _of_factors("todo"),
    _of_factors("todo-rotating"),
    _of_factors("todo-rotating+forecast"),
    _of_ids(
        "forecast",
        "{} of the calls",
        {"forecast" if p == 30 else f"forecast-{p}": f"{p} %" for p in PER_CENTS},
    ),
    _of_ids("deepcache", "interval {}", {"deepcache": "2", "deepcache-3": "3"}),
    _of_ids("pab", "interval {}", {"pab": "2"}),
    _of_ids(FEWER_STEPS.id, "{} of the steps", {f"fewer-{p}": f"{p} %" for p in PER_CENTS}),
)


@dataclass(frozen=True)
class Point:
    """One method at one setting and size: medians over the prompts, of an even number the lower of the two in
    the middle: each is a value that occurred."""

    line: Line
    width: int
    height: int
    setting: str
    """Of the method: its factor, share or interval."""
    pictures: int
    timed: int
    """How many pictures were timed."""
    speedup: float
    counted: float | None
    """The speed-up by FLOPs; None if its work is not counted."""
    psnr: float
    """In dB; infinite if most of its pictures equal Baseline's."""
    flip: float | None
    ms_ssim: float | None

    @property
    def in_words(self) -> str:
        """Its setting, as in "factor 2"."""
        return self.line.words.format(self.setting)

    @property
    def is_joined(self) -> bool:
        """Whether its setting is one of a row of numbers: not one for each level."""
        return "," not in self.setting

    def beats(self, other: Point) -> bool:
        """Faster and closer than the other; one of both may be equal."""
        ours, theirs = (self.speedup, self.psnr), (other.speedup, other.psnr)
        return ours != theirs and all(a >= b for a, b in zip(ours, theirs, strict=True))


def points(closeness: Iterable[Row], times: Iterable[Row]) -> list[Point]:
    """Size by size and line by line, from slow to fast.

    Raises:
        InvalidRequest: rows differ in more than method, factor, size and prompt; times are of several
            devices; or the methods of a size have no prompt in common.
    """
    closeness, times = list(closeness), [row for row in times if row.speedup is not None]
    _check_alike([*closeness, *times])
    check_one_device(times)
    speeds: dict[tuple[Line, str, tuple[int, int]], list[float]] = {}
    for line in LINES:
        for row in filter(line.has, times):
            speeds.setdefault((line, line.point(row), (row.width, row.height)), []).append(row.speedup)
    found = []
    for size in dict.fromkeys((row.width, row.height) for row in closeness):
        of_size = [row for row in closeness if (row.width, row.height) == size]
        groups: dict[tuple[Line, str], dict[tuple[str, int], Row]] = {}
        for line in LINES:
            for row in filter(line.has, of_size):
                if (line, line.point(row), size) in speeds:
                    groups.setdefault((line, line.point(row)), {}).setdefault((row.prompt, row.seed), row)
        common = set.intersection(*map(set, groups.values())) if groups else set()
        if groups and not common:
            raise InvalidRequest(f"The methods at {size[0]}×{size[1]} have no prompt in common.")
        for (line, setting), rows in groups.items():
            same = [rows[picture] for picture in sorted(common)]
            found.append(_point(line, size, setting, same, speeds[line, setting, size]))
    order = {line.label: place for place, line in enumerate(LINES)}
    return sorted(found, key=lambda p: (p.width * p.height, order[p.line.label], p.speedup))


def _check_alike(rows: Sequence[Row]) -> None:
    settings = {(row.steps, row.guidance_scale, row.until, row.negative_prompt) for row in rows}
    if len(settings) > 1:
        raise InvalidRequest(
            f"These sweeps differ in steps, guidance, until or negative prompt: {sorted(settings)}."
        )
    check_same_weights(rows)


def _point(
    line: Line, size: tuple[int, int], setting: str, rows: Sequence[Row], speeds: Sequence[float]
) -> Point:
    def middle(values: Iterable[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return median_low(known) if known else None

    return Point(
        line=line,
        width=size[0],
        height=size[1],
        setting=setting,
        pictures=len(rows),
        timed=len(speeds),
        speedup=median_low(speeds),
        counted=middle(row.flop_speedup for row in rows),
        psnr=median_low(math.inf if row.psnr is None else row.psnr for row in rows),
        flip=middle(row.flip for row in rows),
        ms_ssim=middle(row.ms_ssim for row in rows),
    )


def frontier(points: Sequence[Point]) -> list[Point]:
    """Those of one size that no other beats: faster than all that are closer. From slow to fast."""
    best = [point for point in points if not any(other.beats(point) for other in points)]
    return sorted(best, key=lambda point: point.speedup)


def markdown(points: Sequence[Point]) -> str:
    """A table with all points; those on the frontier are marked."""
    lines = [
        "| size | method | setting | speed-up | timed | by FLOPs "
        "| PSNR, dB | FLIP | MS-SSIM | pictures | frontier |",
        f"|{'---|' * 11}",
    ]
    for of_size in by_size(points).values():
        best = frontier(of_size)
        for p in of_size:
            cells = [f"{p.width}×{p.height}", p.line.label, p.setting, f"{p.speedup:.2f}×", str(p.timed)]
            cells += ["–" if p.counted is None else f"{p.counted:.2f}×"]
            cells += ["∞" if math.isinf(p.psnr) else f"{p.psnr:.1f}"]
            cells += ["–" if score is None else f"{score:.3f}" for score in (p.flip, p.ms_ssim)]
            cells += [str(p.pictures), "yes" if p in best else ""]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def plot(points: Sequence[Point], file: Path) -> None:
    """A column of panels per size: PSNR and FLIP over speed-up, a line per method. The frontier is drawn
    below PSNR as a broad grey band; thin lines say from where on a difference is visible."""
    sizes = by_size(points)
    figure = Figure(figsize=(6.4 * len(sizes), 8.6), dpi=110, layout="constrained")
    panels = figure.subplots(2, len(sizes), squeeze=False)
    for (psnr, flip), ((width, height), of_size) in zip(panels.T, sizes.items(), strict=True):
        psnr.set(title=f"{width}×{height}", ylabel="PSNR to Baseline, dB: higher is closer")
        flip.set(xlabel="measured speed-up", ylabel="FLIP to Baseline: lower is closer")
        flip.invert_yaxis()
        best = [point for point in frontier(of_size) if math.isfinite(point.psnr)]
        psnr.plot(
            [p.speedup for p in best], [p.psnr for p in best], color="#dddddd", linewidth=9, zorder=0,
            solid_joinstyle="round", label="not beaten by any other",
        )  # fmt: skip
        for limit in (HARD_TO_SEE, INVISIBLE):
            psnr.axhline(limit, color="#bbbbbb", linewidth=0.8, linestyle=":")
        psnr.text(0.99, INVISIBLE, "above: invisible", **_beside(psnr, "bottom"))
        psnr.text(0.99, HARD_TO_SEE, "below: visible", **_beside(psnr, "top"))
        for line in dict.fromkeys(point.line for point in of_size):
            of_line = [point for point in of_size if point.line is line]
            _draw(psnr, of_line, lambda point: point.psnr)
            _draw(flip, of_line, lambda point: point.flip)
        for panel in (psnr, flip):
            panel.axvline(1, color="#999999", linewidth=0.8)
            panel.spines[["top", "right"]].set_visible(False)
    figure.legend(
        *panels[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False
    )
    figure.savefig(file)


def _beside(panel: Axes, vertical: str) -> dict[str, object]:
    """Small words at the right end of a horizontal line."""
    place = {"transform": panel.get_yaxis_transform(), "ha": "right", "va": vertical}
    return {**place, "fontsize": 8, "color": "#777777"}


def by_size(points: Sequence[Point]) -> dict[tuple[int, int], list[Point]]:
    """The points of each width and height."""
    sizes: dict[tuple[int, int], list[Point]] = {}
    for point in points:
        sizes.setdefault((point.width, point.height), []).append(point)
    return sizes


def _draw(panel: Axes, line: Sequence[Point], height: Callable[[Point], float | None]) -> None:
    heights = [(point, height(point)) for point in line]
    drawn = [(point, value) for point, value in heights if value is not None and math.isfinite(value)]
    if not drawn:
        return
    colour, joined = line[0].line.colour, [(p.speedup, value) for p, value in drawn if p.is_joined]
    panel.plot(*zip(*joined, strict=True), color=colour, label=line[0].line.label)
    panel.scatter([point.speedup for point, _ in drawn], [value for _, value in drawn], s=16, color=colour)
    for point, value in drawn:
        panel.annotate(
            point.setting, (point.speedup, value), (4, 4), textcoords="offset points", fontsize=7,
            color=colour,
        )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--closeness", type=Path, nargs="+", required=True, metavar="FOLDER")
    parser.add_argument("--times", type=Path, nargs="+", required=True, metavar="FOLDER")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="must be there")
    options = parser.parse_args()
    try:
        found = points(
            (row for folder in options.closeness for row in read_rows(folder, Row)),
            (row for folder in options.times for row in read_rows(folder, Row)),
        )
        if not found:
            raise InvalidRequest("No method that is drawn has both scores and times in these folders.")
        (options.out / "frontier.md").write_text(markdown(found), encoding="utf-8")
        plot(found, options.out / "frontier.png")
    except (InvalidRequest, OSError) as error:
        parser.error(str(error))
    print(markdown(found), end="")


if __name__ == "__main__":
    main()
