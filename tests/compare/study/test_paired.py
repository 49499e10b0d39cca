from __future__ import annotations

import pytest

from compare.cli import main
from compare.study.paired import Difference, contrasts, markdown
from compare.study.rows import Row
from tests.compare.study.test_sweep import finished


def test_pairs_are_rows_that_differ_in_the_method_only(loaded, tmp_path) -> None:
    rows = finished(loaded, tmp_path)
    found = contrasts("out", rows, ["tome"], "todo")
    assert [(contrast.factor, contrast.method) for contrast in found] == [("2", "tome"), ("3", "tome")]
    by_hand = [
        ours.ssim - theirs.ssim
        for ours in rows
        for theirs in rows
        if (ours.method, theirs.method, ours.factor) == ("tome", "todo", 2) and ours.key[1:] == theirs.key[1:]
    ]
    ssim = found[0].differences["SSIM"]
    assert (ssim.pairs, ssim.wins) == (4, sum(value > 0 for value in by_hand))
    assert ssim.mean == pytest.approx(sum(by_hand) / 4)
    assert "LPIPS" not in found[0].differences
    head, _, first, _ = markdown(found).splitlines()
    assert "| SSIM |" in head
    assert "LPIPS" not in head
    assert "| ToMe − ToDo | 4 |" in first
    assert ssim.written(4) in first


def test_a_pair_without_a_psnr_does_not_count(loaded, tmp_path) -> None:
    rows = finished(loaded, tmp_path)
    rows[0] = rows[0].model_copy(update={"psnr": None})
    assert contrasts("out", rows, ["tome"], "todo")[0].differences["PSNR, dB"].pairs == 3


def test_the_interval_holds_the_mean_and_a_constant_has_none() -> None:
    spread = Difference.of([1.0, 2.0, 3.0, 4.0, -1.0])
    assert spread.low < spread.mean < spread.high
    assert (spread.wins, spread.pairs) == (4, 5)
    same = Difference.of([2.0] * 5)
    assert same.low == same.mean == same.high == 2


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    import numpy as np

    rng = np.random.default_rng(3)
    drawn = (Difference.of(rng.normal(0.5, 1, 60).tolist()) for _ in range(100))
    assert 88 <= sum(d.low <= 0.5 <= d.high for d in drawn) <= 99


def test_the_command_prints_the_table_or_says_what_is_missing(loaded, tmp_path, capsys) -> None:
    rows = finished(loaded, tmp_path)
    folder = str(tmp_path / "out")
    assert main(["paired", folder, "--methods", "tome"]) == 0
    assert capsys.readouterr().out == markdown(contrasts("out", rows, ["tome"], "todo"))
    assert (
        main(["paired", folder, folder, "--methods", "tome", "--plot", str(tmp_path / "new" / "it.png")]) == 0
    )
    assert capsys.readouterr().out.count("| ToMe − ToDo |") == 4
    assert (tmp_path / "new" / "it.png").stat().st_size > 10_000
    assert main(["paired", folder, "--methods", "todo-random"]) == 2
    assert "has no comparison of todo with todo-random" in capsys.readouterr().err
    assert main(["paired", str(tmp_path / "nowhere"), "--methods", "tome"]) == 2
    assert "cannot be read" in capsys.readouterr().err
    assert main(["paired", folder, "--methods", "magic"]) == 2
    assert "'magic' is not one of them" in capsys.readouterr().err


def test_rows_of_variants_can_be_read_back(loaded, tmp_path) -> None:
    rows = finished(loaded, tmp_path)
    variant = rows[0].model_copy(update={"method": "todo-raster"})
    assert Row.model_validate_json(variant.model_dump_json()) == variant
