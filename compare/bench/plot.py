"""The speed-ups of a benchmark as a picture: one panel per factor, sizes from left to right."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from compare.bench.report import BenchReport, BenchRow
from compare.bench.variants import UpperBound, Variant, variants


def plot(report: BenchReport, file: Path) -> None:
    """Draw the speed-up of a step: a line per method with its 95 % confidence intervals, and the upper bounds
    dashed."""
    factors = report.request.factors
    sizes = list(dict.fromkeys(row.size for row in report.rows))
    figure = Figure(figsize=(max(4.5, 1 + 1.1 * len(sizes)) * len(factors), 4.6), layout="constrained")
    panels = figure.subplots(1, len(factors), sharey=True, squeeze=False)[0]
    for panel, factor in zip(panels, factors, strict=True):
        panel.axhline(1, color="#999999", linewidth=1)
        panel.set_title(f"factor {factor}")
        panel.set_xticks(range(len(sizes)), sizes)
        panel.set_xlim(-0.5, len(sizes) - 0.5)
        shown = variants(report.request.chosen, [factor])[1:]  # Baseline is the line at 1
        for number, variant in enumerate(shown):
            aside = 0.05 * (number - (len(shown) - 1) / 2)  # so that none covers another
            places = {size: place + aside for place, size in enumerate(sizes)}
            _draw(panel, variant, places, report.rows)
    panels[0].set_ylabel("speed-up of a step")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    model = report.model
    figure.suptitle(
        f"{model.name}, {report.environment.hardware}, {model.dtype}, "
        f"{model.attention}{', compiled' if report.request.compiled else ''}",
        fontsize="medium",
    )
    figure.savefig(file, dpi=120)


def _draw(panel: Axes, variant: Variant, places: dict[str, float], rows: Iterable[BenchRow]) -> None:
    timed = [row for row in rows if row.variant == variant and row.step and row.step.paired]
    ratios = [row.step.paired for row in timed]
    medians = [ratio.median for ratio in ratios]
    spans = [ratio.interval or (ratio.median, ratio.median) for ratio in ratios]
    is_bound = isinstance(variant.method, UpperBound)
    panel.errorbar(
        [places[row.size] for row in timed],
        medians,
        [[m - low for m, (low, _) in zip(medians, spans, strict=True)],
         [high - m for m, (_, high) in zip(medians, spans, strict=True)]],
        color=variant.method.colour,
        linestyle="--" if is_bound else "-",
        marker="_" if is_bound else "o",
        capsize=3,
        label=variant.method.label,
    )  # fmt: skip
