"""What the page shows of a comparison."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from compare.methods import BASELINE, method_of
from compare.report import HARD_TO_SEE, INVISIBLE, Comparison, Result
from compare.request import Request
from compare.script import script_for
from page.bars import Bars
from page.html import render
from page.pictures import Album
from page.stage import Picture, tokens_of
from page.verdict import Column, best_first, columns_of


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What the page shows of a comparison.

    Args:
        album: the files of its pictures.
        request: what was asked for; None: nothing.
        comparison: what was measured; None: nothing yet.
        whose: the visitor's own, or the example.
        aside: what else to say of it, as long as there is no comparison.
        begun: ids of the methods that had begun when it ended.
        notes: what a reader of the numbers should know, as long as there is no comparison.
    """

    album: Album
    request: Request | None = None
    comparison: Comparison | None = None
    whose: str = "Your comparison"
    aside: str = ""
    begun: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()

    @property
    def about(self) -> str:
        return render("about", shown=self)

    @property
    def bars(self) -> Bars:
        return Bars.of(self.request, self.comparison, self.begun) if self.request else Bars()

    @property
    def results(self) -> tuple[Result, ...]:
        return self.comparison.results if self.comparison else ()

    @property
    def columns(self) -> tuple[Column, ...]:
        return columns_of(self.results)

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """For the stage."""
        baseline = self.comparison.baseline if self.comparison else None
        ranked = best_first(self.columns)
        best = ranked[0].result.method if ranked else None
        pictures = (picture(column, baseline, self.request, self.album) for column in self.columns)
        return tuple(replace(each, best=each.id == best) for each in pictures)

    @property
    def numbers(self) -> str:
        """The table."""
        if not self.columns:
            return ""
        return render("numbers", columns=self.columns, invisible=INVISIBLE, hard_to_see=HARD_TO_SEE)

    @property
    def is_in_doubt(self) -> bool:
        """Whether a speed-up cannot be trusted."""
        return any(column.doubt for column in self.columns)

    @property
    def choices(self) -> list[tuple[str, str]]:
        """Label and id of the methods that have a result."""
        return [(result.label, result.method) for result in self.results]

    @property
    def first_choice(self) -> str | None:
        """The method whose script is shown at first."""
        ids = [result.method for result in self.results]
        others = [id for id in ids if id != BASELINE.id]
        preselected = [id for id in others if method_of(id).preselected]
        return next(reversed(preselected or others or ids), None)

    def result(self, id: str | None) -> Result | None:
        return self.comparison.result(id) if self.comparison else None

    def script(self, id: str | None) -> str:
        """Lines of Python that make the picture of a method."""
        result = self.result(id)
        return script_for(self.request, id, self.comparison.model, steps=result.steps) if result else ""

    @property
    def report(self) -> str:
        if self.comparison is None:
            return ""
        return render("report", report=self.comparison.model_dump_json(indent=2) + "\n")


def picture(column: Column, baseline: Result | None, request: Request, album: Album) -> Picture:
    """A result on the stage."""
    result = column.result
    return Picture(
        id=result.method,
        label=result.label,
        path=album.file(result.method, result.image),
        caption=" · ".join(_caption(column)),
        alt=f"{result.label}: {request.prompt}",
        name=file_name(result.method, request),
        width=request.width,
        height=request.height,
        flip=album.flip_file(result, baseline),
        tokens=tokens_of(result, album),
    )


def place(id: str, request: Request, file: str = "", alt: str = "") -> Picture:
    """The place of a picture to come, or a preview of it.

    Args:
        file: of the preview.
        alt: of the preview.
    """
    return Picture(
        id=id,
        label=request.label_of(method_of(id)),
        path=file,
        caption="",
        alt=alt,
        name=file_name(id, request),
        width=request.width,
        height=request.height,
        preview=True,
    )


def file_name(id: str, request: Request) -> str:
    """A name that says what is in the file: `todo-factor2-a-fox-on-navy-seed101.png`."""
    factor = "" if id == BASELINE.id else f"factor{'-'.join(map(str, request.factors))}"
    return slug(id, factor, request.settings_of(method_of(id)), *_of_picture(request)) + ".png"


def rows_name(request: Request) -> str:
    """Of the file with the rows of an exploration: `rows-a-fox-on-navy-seed101.zip`."""
    return slug("rows", *_of_picture(request)) + ".zip"


def slug(*parts: str) -> str:
    """The parts that are not empty, in letters, digits and hyphens."""
    return "-".join(filter(None, (re.sub(r"\W+", "-", part.lower()).strip("-") for part in parts)))


def _of_picture(request: Request) -> tuple[str, str]:
    return request.prompt[:60], f"seed{request.seed}"


def _caption(column: Column) -> list[str]:
    result = column.result
    is_compared = column.speedup is not None and not result.is_baseline
    said = [f"{column.speedup:.2f}×" if is_compared else f"{result.times.seconds:.1f} s"]
    if result.scores:
        said.append("identical" if result.scores.psnr is None else f"{result.scores.psnr:.1f} dB")
    return said
