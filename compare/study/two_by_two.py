"""The two changes of the ToDo paper, apart: which tokens become one, by what is merged.

``python -m compare.study.two_by_two docs/results/two-changes`` reads the rows that `compare sweep` wrote, of
one folder or several. ``--times FOLDER ...`` takes the times from others: closeness needs many pictures,
times a quiet machine.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from compare.errors import InvalidRequest
from compare.methods import TODO, TODO_ALL, TOME, TOME_KV
from compare.study.curve import Point, Spread, points
from compare.study.row_folder import read_rows
from compare.study.rows import Row, check_one_device, check_same_weights

QUADRANTS = {"by similarity": (TOME, TOME_KV), "by the grid": (TODO_ALL, TODO)}
"""All tokens, and keys and values."""


def markdown(found: Sequence[Point], times: Sequence[Point] = ()) -> str:
    """For each setting and factor that has all four: medians of PSNR, of SSIM and, if it was timed, of the
    speed-up, and the speed-up by FLOPs.

    Args:
        times: of the same settings, from sweeps of their own; without them, the times of `found`.
    """
    lines = ["| setting | factor | which | all tokens | keys and values only |", "|---|---|---|---|---|"]
    by_key = {(point.setting, point.factor, point.method): point for point in found}
    timed = {(point.setting, point.factor, point.method): point.speedup for point in (times or found)}
    for setting, factor in dict.fromkeys((point.setting, point.factor) for point in found):
        for which, methods in QUADRANTS.items():
            keys = [(setting, factor, method.id) for method in methods]
            if all(key in by_key for key in _all_four(setting, factor)):
                cells = (_cell(by_key[key], timed.get(key)) for key in keys)
                lines.append(f"| {setting} | {factor} | {which} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _all_four(setting: str, factor: str) -> list[tuple[str, str, str]]:
    return [(setting, factor, method.id) for methods in QUADRANTS.values() for method in methods]


def _cell(point: Point, speedup: Spread | None) -> str:
    cells = [f"{point.psnr.middle:.1f} dB", f"SSIM {point.ssim.middle:.3f}"]
    cells += [f"{speedup.middle:.2f}× measured"] if speedup else []
    return ", ".join([*cells, f"{point.flop_speedup:.2f}× by FLOPs"])


def read_points(folders: Sequence[Path]) -> list[Point]:
    """The points of several sweeps, however often each of them timed a method.

    Raises:
        InvalidRequest: a folder is not of a sweep, or they are of several weights or devices.
    """
    rows = [row for folder in folders for row in read_rows(folder, Row)]
    check_same_weights(rows)
    check_one_device(rows)
    return points(row.model_copy(update={"repeats": 1}) for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "folders", type=Path, nargs="+", metavar="FOLDER", help="what `compare sweep --out` wrote"
    )
    parser.add_argument(
        "--times", type=Path, nargs="+", default=(), metavar="FOLDER",
        help="sweeps of the same settings whose times are taken instead",
    )  # fmt: skip
    options = parser.parse_args()
    try:
        print(markdown(read_points(options.folders), read_points(options.times)), end="")
    except InvalidRequest as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
