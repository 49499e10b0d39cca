"""The results of a sweep as a table, and as the curve of fidelity over speed-up."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from textwrap import fill
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from compare.statistics import Proportion
from compare.study.rows import Row
from compare.study.studied import studied_method

TITLE = 48  # characters in a line
WIDE = 8  # inches, enough for the names of four methods in a line


@dataclass(frozen=True)
class Spread:
    """Median and quartiles over prompts and seeds, each a value that occurred: PSNR can be infinite."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Spread | None:
        """Without the values that are None; None if all are."""
        known = [value for value in values if value is not None]
        return cls(*np.percentile(known, [25, 50, 75], method="inverted_cdf").tolist()) if known else None


@dataclass(frozen=True)
class Point:
    """One method at one factor: all rows of it under the same setting, from the same device."""

    setting: str
    device: str | None
    """None if its rows do not name it."""
    method: str
    factor: str
    runs: int
    speedup: Spread | None
    """None if no row was timed."""
    flop_speedup: float | None
    psnr: Spread
    """In dB; infinite for pictures that equal the baseline's."""
    ssim: Spread
    high_frequency: Spread | None
    lpips: Spread | None
    flip: Spread | None
    ms_ssim: Spread | None
    shown: Proportion
    """Of the objects and backgrounds that the prompts name, those that are found in the pictures; 0 of 0 if
    they were not read."""
    baseline_shown: Proportion
    """And in Baseline's pictures."""


def points(rows: Iterable[Row]) -> list[Point]:
    """The rows by setting, device, method and factor, in the order in which these first come up."""
    groups: dict[tuple[str, str | None, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((setting_of(row), row.device, row.method, factor_of(row)), []).append(row)
    return [_point(*key, group) for key, group in groups.items()]


def markdown(points: Sequence[Point]) -> str:
    """One table: medians, and quartiles over prompts and seeds in brackets. MS-SSIM and FLIP have columns if
    any of the points has them. It names the devices if there are several."""
    optional = {"MS-SSIM": lambda p: p.ms_ssim, "FLIP": lambda p: p.flip}
    scored = {name: of for name, of in optional.items() if any(map(of, points))}
    place = place_of(points)
    heads = ["setting", "method", "factor", "runs", "speed-up", "by FLOPs", "PSNR, dB", "SSIM", "LPIPS"]
    heads += [*scored, "fine detail kept", "of the prompt", "Baseline's"]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for p in points:
        cells = [place(p), studied_method(p.method).label, p.factor, str(p.runs), _written(p.speedup, 2)]
        cells += ["–" if p.flop_speedup is None else f"{p.flop_speedup:.2f}"]
        cells += [_written(p.psnr, 1), _written(p.ssim, 3), _written(p.lpips, 3)]
        cells += [_written(of(p), 3) for of in scored.values()]
        cells += [_written(p.high_frequency, 2), str(p.shown), str(p.baseline_shown)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def plot(points: Sequence[Point], file: Path) -> None:
    """PSNR over speed-up: a line per method through its factors, with quartiles; a panel per setting and
    device. Points without times are not drawn.

    If FLIP was scored, another panel (below, or beside if there is one setting) has that. If the pictures
    were read, one more has how much of the prompts was found in them, with 95 % confidence intervals, and
    Baseline's proportion as a dashed line.
    """
    place = place_of(points)
    settings = list(dict.fromkeys(map(place, points)))
    draws = [_draw_psnr]
    draws += [_draw_flip] if any(point.flip for point in points) else []
    draws += [_draw_prompt] if any(point.shown.of for point in points) else []
    figure = Figure(layout="constrained")
    panels = _panels(figure, len(settings), len(draws))
    for setting, of_setting in zip(settings, panels, strict=True):
        same = [point for point in points if place(point) == setting]
        for panel, draw in zip(of_setting, draws, strict=True):
            panel.axvline(1, color="#999999", linewidth=1)
            panel.set(title=fill(setting, TITLE), xlabel="speed-up")
            for method in dict.fromkeys(point.method for point in same):
                draw(panel, [point for point in same if point.method == method])
    figure.legend(
        *panels[0][0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=2 if figure.get_figwidth() < WIDE else 4,
        frameon=False,
    )
    figure.savefig(file, dpi=120)


def setting_of(row: Row) -> str:
    """All that a row shares with others of the same panel, in words."""
    setting = f"{row.width}×{row.height}, {row.steps} steps, guidance {row.guidance_scale:g}"
    if row.repeats > 1:
        setting += f", {row.repeats} repeats"
    if row.until < 1:
        setting += f", methods on until {row.until:g} of the steps"
    return setting + (f", not “{row.negative_prompt}”" if row.negative_prompt else "")


class Placed(Protocol):
    """Numbers of one setting from one device."""

    @property
    def setting(self) -> str: ...

    @property
    def device(self) -> str | None: ...


def place_of(placed: Iterable[Placed]) -> Callable[[Placed], str]:
    """How to name where each of them is from: by its setting, and by its device if they have several."""
    if len({one.device for one in placed}) == 1:
        return lambda one: one.setting
    return lambda one: f"{one.setting}, on {one.device or 'a device that is not named'}"


def factor_of(row: Row) -> str:
    """As it was asked for: one number, or one per level."""
    return ", ".join(map(str, row.factor)) if isinstance(row.factor, tuple) else str(row.factor)


def _point(setting: str, device: str | None, method: str, factor: str, rows: Sequence[Row]) -> Point:
    flops = [row.flop_speedup for row in rows if row.flop_speedup is not None]
    asked = sum(row.asked or 0 for row in rows)
    return Point(
        setting=setting,
        device=device,
        method=method,
        factor=factor,
        runs=len(rows),
        speedup=Spread.of(row.speedup for row in rows),
        flop_speedup=median(flops) if flops else None,
        psnr=Spread.of(math.inf if row.psnr is None else row.psnr for row in rows),
        ssim=Spread.of(row.ssim for row in rows),
        high_frequency=Spread.of(row.high_frequency for row in rows),
        lpips=Spread.of(row.lpips for row in rows),
        flip=Spread.of(row.flip for row in rows),
        ms_ssim=Spread.of(row.ms_ssim for row in rows),
        shown=Proportion(hits=sum(row.shown or 0 for row in rows), of=asked),
        baseline_shown=Proportion(hits=sum(row.baseline_shown or 0 for row in rows), of=asked),
    )


def _written(spread: Spread | None, digits: int) -> str:
    if spread is None:
        return "–"
    text = f"{spread.middle:.{digits}f} ({spread.low:.{digits}f} to {spread.high:.{digits}f})"
    return text.replace("inf", "∞")


def _panels(figure: Figure, settings: int, draws: int) -> list[Sequence[Axes]]:
    """The panels of each setting."""
    columns = draws if settings == 1 else min(3, settings)
    rows = 1 if settings == 1 else -(-settings // columns) * draws
    figure.set_size_inches(5.2 * columns, 4.2 * rows + 0.4)
    panels = figure.subplots(rows, columns, squeeze=False)
    if settings == 1:
        return [panels[0]]
    blocks = panels.reshape(rows // draws, draws, columns).swapaxes(1, 2).reshape(-1, draws)
    for empty in blocks[settings:].flat:
        empty.remove()
    return list(blocks[:settings])


def _draw_psnr(panel: Axes, line: Sequence[Point]) -> None:
    panel.set_ylabel("PSNR against Baseline, dB")
    line = [point for point in line if point.speedup and math.isfinite(point.psnr.middle)]
    _draw(panel, line, [point.psnr for point in line])


def _draw_flip(panel: Axes, line: Sequence[Point]) -> None:
    panel.set_ylabel("FLIP against Baseline, 0 is equal")
    line = [point for point in line if point.speedup and point.flip]
    _draw(panel, line, [point.flip for point in line])


def _draw_prompt(panel: Axes, line: Sequence[Point]) -> None:
    panel.set(ylabel="of the prompt found, %", ylim=(0, 103))
    line = [point for point in line if point.speedup and point.shown.of]
    shown = [(point.shown.interval[0], point.shown.value, point.shown.interval[1]) for point in line]
    _draw(panel, line, [Spread(*(100 * value for value in values)) for values in shown])
    for point in line[:1]:
        panel.axhline(100 * point.baseline_shown.value, color="#999999", linewidth=1, linestyle="--")


def _draw(panel: Axes, line: Sequence[Point], heights: Sequence[Spread]) -> None:
    if not line:
        return
    method, speed = studied_method(line[0].method), [point.speedup for point in line]
    panel.errorbar(
        [s.middle for s in speed],
        [h.middle for h in heights],
        xerr=_bars(speed),
        yerr=_bars(heights),
        color=method.colour,
        marker="o",
        capsize=2,
        elinewidth=0.8,
        label=method.label,
    )
    for point, height in zip(line, heights, strict=True):
        at = point.speedup.middle, height.middle
        panel.annotate(point.factor, at, (5, 5), textcoords="offset points")


def _bars(spreads: Sequence[Spread]) -> list[list[float]]:
    """Lengths of the error bars, down and up; an infinite quartile has none."""
    up = (s.high - s.middle for s in spreads)
    return [[s.middle - s.low for s in spreads], [length if math.isfinite(length) else 0 for length in up]]
