"""The tab How it works: the methods as drawings, and how much of a step they work on, drawn to scale.

The template holds the words and draws; here are the shapes that repeat, as paths of an SVG.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr

from compare.figures import FACTOR, FILE, STEPS, Work, read_figures
from compare.methods import FORECAST, TODO, TODO_ROTATING, TOME
from page.html import message, render

if TYPE_CHECKING:
    from compare.models.load import LoadedPipeline

NOT_HERE = "The drawings need assets/figures.json, and it is not in this copy of the project."
# What the grid of tokens shows: a ground, a thing and its middle. 8 × 8, as a picture of 128 px has on SDXL.
PICTURE = (
    "........",
    "..####..",
    ".######.",
    ".##oo##.",
    ".##oo##.",
    ".######.",
    "..####..",
    "........",
)
SIDE = len(PICTURE)
TINTS = {".": 12, "#": 42, "o": 72}
"""In percent of the text's colour."""
VARIATION = (0, 5, -4, 3, -6, 6, -2)
"""So that no two neighbours are quite alike."""

Cell = tuple[int, int]
"""Row and column."""


def add_how_it_works(loaded: LoadedPipeline) -> None:
    """The contents of the tab, in the context of `gr.Blocks`."""
    gr.HTML(how_it_works_html(loaded.info.unet_parameters), elem_id="how-it-works", apply_default_css=False)


def how_it_works_html(parameters: int, file: Path = FILE) -> str:
    """The same as text.

    Args:
        parameters: of the UNet of the page's model, by which its bar is known.
        file: with the figures.
    """
    try:
        figures = read_figures(file)
    except (OSError, ValueError):
        return message("quiet", NOT_HERE)
    return render(
        "how_it_works",
        colours={"tome": TOME, "todo": TODO, "rotating": TODO_ROTATING, "forecast": FORECAST},
        cells=list(_cells()),
        kept=kept((0, 0)),
        corners=[(row, column) for row in range(0, SIDE, FACTOR) for column in range(0, SIDE, FACTOR)],
        rotation=figures.rotation,
        steps=STEPS,
        forecast=figures.forecast,
        work=figures.work,
        is_here=lambda work: work.parameters == parameters,
        factor=FACTOR,
        side=SIDE,
        as_found=as_found(),
        merged=merged(),
        bag=bag(),
        squares=squares,
        fan=fan,
        work_of=work_of,
    )


def kept(offset: Cell) -> list[Cell]:
    """The tokens that ToDo keeps: the one at this offset of each cell."""
    return [
        (row + offset[0], column + offset[1])
        for row in range(0, SIDE, FACTOR)
        for column in range(0, SIDE, FACTOR)
    ]


def as_found() -> dict[int, list[Cell]]:
    """The tokens of the picture by their tint."""
    tints: dict[int, list[Cell]] = {}
    for row, column in _cells():
        varied = VARIATION[(3 * row + 2 * column + row * column) % len(VARIATION)]
        tints.setdefault(TINTS[PICTURE[row][column]] + varied, []).append((row, column))
    return tints


def merged() -> dict[int, list[Cell]]:
    """The same after what is alike has become one."""
    tints: dict[int, list[Cell]] = {}
    for row, column in _cells():
        tints.setdefault(TINTS[PICTURE[row][column]], []).append((row, column))
    return tints


def bag() -> dict[int, list[Cell]]:
    """What is left of them in between, as many as ToDo keeps, in rows."""
    left = len(kept((0, 0)))
    tints: dict[int, list[Cell]] = {}
    groups = merged()
    counts = {tint: max(1, round(left * len(cells) / SIDE**2)) for tint, cells in groups.items()}
    counts[max(groups, key=lambda tint: len(groups[tint]))] += left - sum(counts.values())
    ordered = [tint for tint, count in sorted(counts.items()) for _ in range(count)]
    for number, tint in enumerate(ordered):
        tints.setdefault(tint, []).append(divmod(number, SIDE // FACTOR))
    return tints


def squares(cells: Iterable[Cell], x: float, y: float, pitch: float, size: float) -> str:
    """A path: a square of `size` for each cell of a grid whose corner is at (x, y)."""
    gap = (pitch - size) / 2
    return "".join(
        f"M{x + column * pitch + gap:g} {y + row * pitch + gap:g}h{size:g}v{size:g}h{-size:g}z"
        for row, column in cells
    )


def fan(cells: Iterable[Cell], x: float, y: float, pitch: float, to: tuple[float, float]) -> str:
    """A path: a line from the middle of each cell to a point."""
    return "".join(
        f"M{x + (column + 0.5) * pitch:g} {y + (row + 0.5) * pitch:g}L{to[0]:g} {to[1]:g}"
        for row, column in cells
    )


def work_of(works: Iterable[Work], architecture: str, size: int) -> Work:
    """The one of an architecture at a size."""
    return next(work for work in works if work.architecture == architecture and work.size == size)


def _cells() -> Iterator[Cell]:
    return ((row, column) for row in range(SIDE) for column in range(SIDE))
