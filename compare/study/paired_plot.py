"""Paired differences as a picture: a line per contrast with its interval, a panel per measure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from compare.study.curve import place_of
from compare.study.paired import FINE_DETAIL, PSNR, SSIM, Contrast
from compare.study.studied import studied_method

MEASURES = (PSNR, SSIM, FINE_DETAIL)
MARGINS = 0.8  # inches above and below the lines
LINE = 0.24  # inches for each line


def plot(found: Sequence[Contrast], file: Path) -> None:
    """Draw the mean differences with their 95 % confidence intervals, sweeps one below the other."""
    places, names, heads = [], [], []
    place, named = 0, place_of(found)
    several = len({contrast.method for contrast in found}) > 1
    for sweep, group in groupby(found, key=lambda contrast: contrast.sweep):
        heads.append((place, sweep))
        for contrast in group:
            place += 1
            places.append(place)
            setting = f"{named(contrast)}, factor {contrast.factor}"
            names.append(f"{studied_method(contrast.method).label}: {setting}" if several else setting)
        place += 1.5
    figure = Figure(figsize=(4 + 3 * len(MEASURES), MARGINS + LINE * place), layout="constrained")
    panels = figure.subplots(1, len(MEASURES), sharey=True)
    for panel, measure in zip(panels, MEASURES, strict=True):
        panel.axvline(0, color="#999999", linewidth=1)
        panel.set_title(measure.name, fontsize="medium")
        panel.xaxis.set_major_locator(MaxNLocator(5))
        for at, contrast in zip(places, found, strict=True):
            difference = contrast.differences.get(measure)
            if difference is None:
                continue
            panel.errorbar(
                difference.mean,
                at,
                xerr=[[difference.mean - difference.low], [difference.high - difference.mean]],
                color=studied_method(contrast.method).colour,
                marker="o",
                markersize=4,
                capsize=2,
            )
    panels[0].set_yticks(
        [*places, *(at for at, _ in heads)], [*names, *(name for _, name in heads)], fontsize=8
    )
    for label in panels[0].get_yticklabels()[len(places) :]:
        label.set_fontweight("bold")
    panels[0].set_ylim(place - 0.5, -1)
    pairs = dict.fromkeys(contrast.label for contrast in found)
    figure.suptitle(f"{', '.join(pairs)}: mean of pairs, and 95 % interval", fontsize="medium")
    figure.savefig(file, dpi=120)
