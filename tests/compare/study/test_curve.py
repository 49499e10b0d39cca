from __future__ import annotations

import math
from dataclasses import replace

from PIL import Image

from compare.statistics import Proportion
from compare.study.curve import markdown, plot, points


def test_the_table_has_medians_and_quartiles_that_follow_from_the_rows(rows, tmp_path) -> None:
    found = points(rows)
    assert [(p.method, p.factor, p.runs) for p in found] == [
        ("tome", "2", 4), ("todo", "2", 4), ("tome", "3", 4), ("todo", "3", 4),
    ]  # fmt: skip
    todo = [row.ssim for row in rows if row.method == "todo" and row.factor == 2]
    assert (found[1].ssim.low, found[1].ssim.middle, found[1].ssim.high) == tuple(sorted(todo)[:3])
    assert markdown(found).count("\n") == len(found) + 2
    plot(found, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 10_000


def test_the_prompt_is_drawn_beside_one_setting_and_below_several(rows, tmp_path) -> None:
    half = Proportion(hits=2, of=4)
    one = [replace(point, flip=None, shown=half, baseline_shown=half) for point in points(rows)]
    two = [*one, *(replace(point, setting="another") for point in one)]
    plot(one, tmp_path / "one.png")
    plot(two, tmp_path / "two.png")
    with Image.open(tmp_path / "one.png") as beside, Image.open(tmp_path / "two.png") as below:
        assert beside.width > 2 * beside.height
        assert below.width == beside.width
        assert below.height > 1.8 * beside.height


def test_scores_that_no_row_has_take_no_column_and_no_panel(rows, tmp_path) -> None:
    scored = points([row.model_copy(update={"flip": 0.125, "ms_ssim": 0.5}) for row in rows])
    without = points([row.model_copy(update={"flip": None}) for row in rows])
    head, _, first, *_ = markdown(scored).splitlines()
    assert "| MS-SSIM | FLIP |" in head
    assert "| 0.500 (0.500 to 0.500) | 0.125 (0.125 to 0.125) |" in first
    head, *_ = markdown(without).splitlines()
    assert "FLIP" not in head
    assert "MS-SSIM" not in head  # the pictures are too small for it
    widths = []
    for found in (scored, without):
        plot(found, tmp_path / "curve.png")
        with Image.open(tmp_path / "curve.png") as picture:
            widths.append(picture.width)
    assert widths[0] == 2 * widths[1]


def test_identical_pictures_are_infinitely_close_and_hide_no_others(rows, tmp_path) -> None:
    of_todo = [row for row in rows if (row.method, row.factor) == ("todo", 2)]
    of_todo[0] = of_todo[0].model_copy(update={"psnr": None, "identical": True})
    (point,) = points(of_todo)
    assert math.isfinite(point.psnr.low)
    assert math.isfinite(point.psnr.middle)
    (same,) = points([row.model_copy(update={"psnr": None}) for row in of_todo])
    assert "∞ (∞ to ∞)" in markdown([same])
    plot([point, same], tmp_path / "curve.png")
