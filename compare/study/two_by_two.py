"""The two changes of the ToDo paper, apart: which tokens become one, by what is merged.

``python -m compare.study.two_by_two docs/results/two-changes`` reads the rows that `compare sweep` wrote, of
one folder or several.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from compare.errors import InvalidRequest
from compare.methods import TODO, TODO_ALL, TOME, TOME_KV
from compare.study.curve import Point, points
from compare.study.row_folder import read_rows
from compare.study.rows import Row

QUADRANTS = {"by similarity": (TOME, TOME_KV), "by the grid": (TODO_ALL, TODO)}
"""All tokens, and keys and values."""


def markdown(found: Sequence[Point]) -> str:
    """For each setting and factor that has all four: medians of PSNR, of SSIM and, if it was timed, of the
    speed-up, and the speed-up by FLOPs."""
    lines = ["| setting | factor | which | all tokens | keys and values only |", "|---|---|---|---|---|"]
    by_key = {(point.setting, point.factor, point.method): point for point in found}
    for setting, factor in dict.fromkeys((point.setting, point.factor) for point in found):
        rows = {
            which: [by_key.get((setting, factor, method.id)) for method in methods]
            for which, methods in QUADRANTS.items()
        }
        if all(point for row in rows.values() for point in row):
            for which, row in rows.items():
                lines.append(f"| {setting} | {factor} | {which} | {' | '.join(map(_cell, row))} |")
    return "\n".join(lines) + "\n"


def _cell(point: Point) -> str:
    cells = [f"{point.psnr.middle:.1f} dB", f"SSIM {point.ssim.middle:.3f}"]
    cells += [f"{point.speedup.middle:.2f}× measured"] if point.speedup else []
    return ", ".join([*cells, f"{point.flop_speedup:.2f}× by FLOPs"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "folders", type=Path, nargs="+", metavar="FOLDER", help="what `compare sweep --out` wrote"
    )
    try:
        rows = [row for folder in parser.parse_args().folders for row in read_rows(folder, Row)]
        print(markdown(points(rows)), end="")
    except InvalidRequest as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
