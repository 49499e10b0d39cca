from __future__ import annotations

import pytest

from compare.__main__ import main
from compare.study.paired import PSNR, SSIM, contrasts, markdown
from compare.study.rows import Row


def test_pairs_are_rows_that_differ_in_the_method_only(rows) -> None:
    found = contrasts("out", rows, ["tome"], "todo")
    assert [(contrast.factor, contrast.method) for contrast in found] == [("2", "tome"), ("3", "tome")]
    by_hand = [
        ours.ssim - theirs.ssim
        for ours in rows
        for theirs in rows
        if (ours.method, theirs.method, ours.factor) == ("tome", "todo", 2) and ours.key[1:] == theirs.key[1:]
    ]
    ssim = found[0].differences[SSIM]
    assert (ssim.pairs, ssim.wins) == (4, sum(value > 0 for value in by_hand))
    assert ssim.mean == pytest.approx(sum(by_hand) / 4)
    assert ssim.low <= ssim.mean <= ssim.high
    head, _, first, _ = markdown(found).splitlines()
    assert "| SSIM |" in head
    assert "LPIPS" not in head  # which was not scored
    assert "| ToMe − ToDo | 4 |" in first
    assert ssim.written(4) in first


def test_a_pair_without_a_psnr_does_not_count(rows) -> None:
    rows[0] = rows[0].model_copy(update={"psnr": None})
    assert contrasts("out", rows, ["tome"], "todo")[0].differences[PSNR].pairs == 3


def test_the_command_prints_the_table_and_draws_it(rows, sweep_folder, tmp_path, capsys) -> None:
    folder, picture = str(sweep_folder / "out"), tmp_path / "new" / "it.png"
    assert main(["paired", folder, "--methods", "tome"]) == 0
    assert capsys.readouterr().out == markdown(contrasts("out", rows, ["tome"], "todo"))
    assert main(["paired", folder, folder, "--methods", "tome", "--plot", str(picture)]) == 0
    assert capsys.readouterr().out.count("| ToMe − ToDo |") == 4
    assert picture.stat().st_size > 10_000
    assert main(["paired", folder, "--methods", "tome", "pab"]) == 0
    assert "out has no comparison of todo with pab." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("folder", "method", "says"),
    [
        ("out", "todo-random", "has no comparison of todo with todo-random"),
        ("nowhere", "tome", "cannot be read"),
        ("out", "magic", "'magic' is not one of them"),
    ],
)
def test_the_command_says_what_is_missing(sweep_folder, capsys, folder, method, says) -> None:
    assert main(["paired", str(sweep_folder / folder), "--methods", method]) == 2
    assert says in capsys.readouterr().err


def test_rows_of_variants_can_be_read_back(rows) -> None:
    variant = rows[0].model_copy(update={"method": "todo-raster"})
    assert Row.model_validate_json(variant.model_dump_json()) == variant
