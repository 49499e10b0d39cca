from __future__ import annotations

import shutil
import sys

import pytest

from compare.errors import InvalidRequest
from compare.study import two_by_two
from compare.study.curve import points
from compare.study.two_by_two import QUADRANTS, markdown
from tests.helpers.sweeps import SETTINGS, swept


@pytest.fixture
def four(loaded, tmp_path) -> list:
    text = SETTINGS.replace('["tome", "todo"]', '["todo", "todo-all", "tome", "tome-kv"]')
    return swept(loaded, tmp_path, text.replace("[2, 3]", "[2]").replace("[1, 2]", "[1]"))


def test_each_method_is_in_the_row_of_which_and_the_column_of_what(four) -> None:
    *_, similar, grid = markdown(points(four)).splitlines()
    for line, which in ((similar, "by similarity"), (grid, "by the grid")):
        _, _, _, name, *cells, _ = (cell.strip() for cell in line.split("|"))
        assert name == which
        for cell, method in zip(cells, QUADRANTS[which], strict=True):
            (point,) = points(row for row in four if row.method == method.id)
            psnr, ssim, speedup, flops = cell.split(", ")
            assert speedup == f"{point.speedup.middle:.2f}× measured"
            assert flops == f"{point.flop_speedup:.2f}× by FLOPs"
            assert psnr == f"{point.psnr.middle:.1f} dB"
            assert ssim == f"SSIM {point.ssim.middle:.3f}"


def test_rows_without_times_have_no_measured_speed_up(four) -> None:
    untimed = [row.model_copy(update={"speedup": None, "seconds": None}) for row in four]
    assert "measured" not in markdown(points(untimed))


def test_folders_of_other_weights_or_times_of_two_devices_are_refused(four, tmp_path) -> None:
    for change, says in (({"weights": "others"}, "weights"), ({"device": "Faster GPU"}, "several devices")):
        other = tmp_path / says
        shutil.copytree(tmp_path / "out", other)
        lines = [row.model_copy(update=change).model_dump_json() + "\n" for row in four]
        (other / "rows.jsonl").write_text("".join(lines))
        with pytest.raises(InvalidRequest, match=says):
            two_by_two.read_points([tmp_path / "out", other])


def test_times_can_be_of_other_sweeps_with_other_repeats(four, tmp_path, monkeypatch, capsys) -> None:
    untimed = [row.model_copy(update={"speedup": None, "seconds": None}) for row in four]
    faster = [row.model_copy(update={"speedup": 7.77, "repeats": 3}) for row in four]
    for name, rows in (("untimed", untimed), ("times", faster)):
        (tmp_path / name).mkdir()
        lines = "".join(row.model_dump_json() + "\n" for row in rows)
        (tmp_path / name / "rows.jsonl").write_text(lines, encoding="utf-8")
    words = ["two_by_two", str(tmp_path / "untimed"), "--times", str(tmp_path / "times")]
    monkeypatch.setattr(sys, "argv", words)
    two_by_two.main()
    printed = capsys.readouterr().out
    assert printed.count("7.77× measured") == 4
    assert printed.replace("7.77× measured, ", "") == markdown(points(untimed))


def test_a_setting_without_all_four_has_no_row(four) -> None:
    three = [row for row in four if row.method != "tome-kv"]
    assert len(markdown(points(three)).splitlines()) == 2


def test_the_command_prints_it_and_says_what_it_cannot_read(four, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["two_by_two", str(tmp_path / "out")])
    two_by_two.main()
    assert capsys.readouterr().out == markdown(points(four))
    monkeypatch.setattr(sys, "argv", ["two_by_two", str(tmp_path / "nowhere")])
    with pytest.raises(SystemExit):
        two_by_two.main()
    assert "nowhere" in capsys.readouterr().err
