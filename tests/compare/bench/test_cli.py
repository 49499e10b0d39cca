from __future__ import annotations

from compare.__main__ import main
from compare.bench.files import load_bench
from compare.bench.table import markdown


def test_the_command_measures_saves_and_prints(tiny_folder, tmp_path, capsys) -> None:
    out = tmp_path / "a folder"
    arguments = ["bench", "--model", str(tiny_folder), "--device", "cpu", "--sizes", "64", "96x64"]
    arguments += ["--factors", "2", "--methods", "todo", "--rounds", "1", "--steps", "1", "--out", str(out)]
    assert main(arguments) == 0
    report = load_bench(out)
    assert report.request.sizes == ((64, 64), (96, 64))
    assert report.command.startswith("python -m compare bench --model")
    assert f"--out '{out}'" in report.command
    printed = capsys.readouterr()
    assert markdown(report) in printed.out
    assert "96×64, round 1: ToDo, factor 2" in printed.err


def test_the_profile_command_prints_a_table(tiny_folder, capsys) -> None:
    options = ["--device", "cpu", "--size", "64", "--rounds", "1", "--method", "todo-rotating"]
    assert main(["profile", "--model", str(tiny_folder), *options]) == 0
    heads = "| part, ms | Baseline | ToDo, rotating grid, factor 2 | Upper bound of ToDo |"
    assert heads in capsys.readouterr().out


def test_baseline_alone_has_no_profile(tiny_folder, capsys) -> None:
    assert main(["profile", "--model", str(tiny_folder), "--device", "cpu", "--method", "baseline"]) == 2
    assert "Baseline is always in the profile" in capsys.readouterr().err
