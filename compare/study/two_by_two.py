"""The two changes of the ToDo paper, apart: which tokens become one, by what is merged.

``python -m compare.study.two_by_two docs/results/two-changes`` reads the rows that `compare sweep` wrote.
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
    """Medians of PSNR and SSIM, and the speed-up by FLOPs, for each setting and factor that has all four."""
    lines = ["| setting | factor | which | all tokens | keys and values only |", "|---|---|---|---|---|"]
    by_key = {(point.setting, point.factor, point.method): point for point in found}
    for setting, factor in dict.fromkeys((point.setting, point.factor) for point in found):
        rows = {
            which: [by_key.get((setting, factor, method.id)) for method in methods]
            for which, methods in QUADRANTS.items()
        }
        if all(point for row in rows.values() for point in row):
            for which, row in rows.items():
                cells = [
                    f"{p.psnr.middle:.1f} dB, SSIM {p.ssim.middle:.3f}, {p.flop_speedup:.2f}× by FLOPs"
                    for p in row
                ]
                lines.append(f"| {setting} | {factor} | {which} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="what `compare sweep --out` wrote")
    try:
        print(markdown(points(read_rows(parser.parse_args().folder, Row))), end="")
    except InvalidRequest as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
