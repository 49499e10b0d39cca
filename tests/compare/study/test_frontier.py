from __future__ import annotations

import math
import sys
from dataclasses import replace

import pytest

from compare.errors import InvalidRequest
from compare.study import frontier
from compare.study.frontier import LINES, points
from compare.study.rows import Row
from compare.study.studied import studied_methods


def timed(rows: list[Row], **speedups: float) -> list[Row]:
    """The rows, with these speed-ups by method."""
    return [row.model_copy(update={"speedup": speedups.get(row.method, row.speedup)}) for row in rows]


def test_the_lines_are_of_methods_that_there_are(rows) -> None:
    ids = {method.id for method in studied_methods()}
    for line in LINES:
        assert any(line.has(rows[0].model_copy(update={"method": id})) for id in ids), line.label


def test_a_point_joins_scores_of_one_sweep_with_times_of_another(rows) -> None:
    untimed = [row.model_copy(update={"speedup": None, "seconds": None}) for row in rows]
    found = points(untimed, timed(rows, todo=1.5, tome=1.25))
    todo = [point for point in found if point.line.label == "ToDo"]
    assert {point.setting for point in todo} == {"2", "3"}
    for point in todo:
        same = [row for row in rows if row.method == "todo" and str(row.factor) == point.setting]
        assert point.speedup == 1.5
        assert (point.pictures, point.timed) == (len(same), len(same))
        assert min(row.psnr for row in same) <= point.psnr <= max(row.psnr for row in same)
    assert points(rows, untimed) == []


def test_every_point_is_of_the_prompts_that_all_have(rows) -> None:
    prompts = list(dict.fromkeys(row.prompt for row in rows))
    more = rows + [
        row.model_copy(update={"prompt": "only of one method", "psnr": 99.0})
        for row in rows
        if (row.method, row.factor, row.prompt) == ("todo", 2, prompts[0])
    ]
    assert {point.pictures for point in points(more, rows)} == {len({(r.prompt, r.seed) for r in rows})}
    apart = [row for row in rows if (row.prompt == prompts[0]) == (row.method == "todo")]
    with pytest.raises(InvalidRequest, match="no prompt in common"):
        points(apart, rows)


def test_rows_of_other_settings_or_weights_are_refused(rows) -> None:
    for change in ({"steps": 9}, {"guidance_scale": 9.0}, {"weights": "others"}):
        with pytest.raises(InvalidRequest, match=r"These (sweeps|rows)"):
            points(rows, [rows[0].model_copy(update=change)])


def test_times_of_two_devices_are_never_averaged(rows) -> None:
    faster = [row.model_copy(update={"device": "Faster GPU", "speedup": 9.0}) for row in rows]
    with pytest.raises(InvalidRequest, match=r"times are of several devices: .*Faster GPU"):
        points(rows, [*rows, *faster])
    assert {point.speedup for point in points(rows, faster)} == {9.0}


def test_a_method_without_times_takes_no_pictures_from_the_others(rows) -> None:
    more = [*rows, rows[0].model_copy(update={"method": "pab"})]
    assert points(more, rows) == points(rows, rows)


def test_the_frontier_has_what_no_other_beats(rows) -> None:
    one = points(rows, rows)[0]
    slow_close, fast_far, beaten = (
        replace(one, speedup=speedup, psnr=psnr)
        for speedup, psnr in ((1.1, math.inf), (2.0, 20.0), (1.9, 19.0))
    )
    assert frontier.frontier([fast_far, beaten, slow_close]) == [slow_close, fast_far]
    assert frontier.frontier([one, one]) == [one, one]
    table = frontier.markdown([slow_close, fast_far, beaten]).splitlines()[2:]
    assert [line.endswith("| yes |") for line in table] == [True, True, False]
    assert "∞" in table[0]


def test_the_command_writes_table_and_figure(finished, tmp_path, monkeypatch, capsys) -> None:
    folder = str(finished / "out")
    words = ["frontier", "--closeness", folder, "--times", folder, "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", words)
    frontier.main()
    assert (tmp_path / "frontier.md").read_text(encoding="utf-8") == capsys.readouterr().out
    assert (tmp_path / "frontier.png").stat().st_size > 10_000
    monkeypatch.setattr(sys, "argv", [*words[:2], str(tmp_path / "nowhere"), *words[3:]])
    with pytest.raises(SystemExit):
        frontier.main()
    assert "nowhere" in capsys.readouterr().err
